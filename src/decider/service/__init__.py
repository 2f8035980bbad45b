"""The engine behind gRPC: the only room that knows grpc and the generated code."""
