"""The best choice of sets under budgets: by trying all, and as a linear programme."""

import itertools

import numpy as np
from scipy.optimize import LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack


def brute_force(value, cost, budget, budgets, max_messages):
    """The largest total value of one subset a member that keeps the budgets."""
    n_candidates, n_members = value.shape
    subsets = [s for m in range(max_messages + 1) for s in itertools.combinations(range(n_candidates), m)]
    best = 0.0
    for choice in itertools.product(subsets, repeat=n_members):
        spend = np.zeros(len(budgets))
        total = 0.0
        for i, subset in enumerate(choice):
            for k in subset:
                spend[budget[k]] += cost[k]
                total += float(value[k, i])
        if (spend <= budgets).all():
            best = max(best, total)
    return best


def constraints(value, cost, budget, budgets, max_messages):
    """One row a member: at most max_messages; one row a budget."""
    n_candidates, n_members = value.shape
    columns = np.arange(n_candidates * n_members)
    member, candidate = columns % n_members, columns // n_members
    ones = np.ones(columns.size)
    rows = csr_array((ones, (member, columns)), (n_members, columns.size))
    spent = np.asarray(cost, float)[candidate]
    pays = csr_array((spent, (np.asarray(budget)[candidate], columns)), (len(budgets), columns.size))
    return vstack([rows, pays]).tocsr(), np.concatenate([np.full(n_members, max_messages), budgets])


def linear(value, cost, budget, budgets, max_messages):
    """HiGHS' optimum of the linear programme, messages in parts allowed."""
    rows, most = constraints(value, cost, budget, budgets, max_messages)
    found = linprog(-value.astype(float).ravel(), rows, most, bounds=(0, 1), method="highs")
    assert found.status == 0
    return -found.fun


def whole(value, cost, budget, budgets, max_messages):
    """HiGHS' optimum in whole messages, within 1e-6."""
    rows, most = constraints(value, cost, budget, budgets, max_messages)
    found = milp(
        -value.astype(float).ravel(),
        constraints=LinearConstraint(rows, -np.inf, most),
        integrality=np.ones(value.size),
        bounds=(0, 1),
        options={"mip_rel_gap": 1e-6, "time_limit": 60},
    )
    assert found.status == 0
    return -found.fun
