mod grpc_calls;
mod grpc_world;
mod probe;
