#!/usr/bin/env bash
# Generates the Go stubs of thuban.v1 into ./thubanv1. Needs protoc, protoc-gen-go and protoc-gen-go-grpc on PATH, or
# a Python with grpcio-tools (which has a protoc inside) named by PYTHON.
set -euo pipefail
cd "$(dirname "$0")"
protos=../../../schemas/proto
if [ -n "${PYTHON:-}" ]; then protoc=("$PYTHON" -m grpc_tools.protoc); else protoc=(protoc); fi
mkdir -p thubanv1
"${protoc[@]}" -I "$protos" --go_out=. --go_opt=module=thuban-example --go-grpc_out=. --go-grpc_opt=module=thuban-example \
  $(cd "$protos" && for file in thuban/v1/*.proto; do echo "--go_opt=M$file=thuban-example/thubanv1 --go-grpc_opt=M$file=thuban-example/thubanv1"; done) \
  $(cd "$protos" && ls thuban/v1/*.proto)
