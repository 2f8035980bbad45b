from threadpoolctl import threadpool_info

from decider.learning.threads import one_thread


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_inside_and_its_own_again_outside():
    before = blas_threads()
    with one_thread():
        assert set(blas_threads()) == {1}
        with one_thread():
            assert set(blas_threads()) == {1}
    assert blas_threads() == before
    with one_thread(False):
        assert blas_threads() == before
