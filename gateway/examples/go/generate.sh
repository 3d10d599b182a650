#!/usr/bin/env bash
# Generates the Go stubs of thuban.v1 into ./thubanv1. Its two plugins, and protoc if there is none (from a Python with
# venv), are installed into .tools/ in the root of the tree.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)
tools=$root/.tools protos=$root/schemas/proto

export PATH=$tools/go/bin:$PATH
plugin() {
  command -v "$1" >/dev/null || GOBIN=$tools/go/bin go install "$2"
}
plugin protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11
plugin protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.0

if command -v protoc >/dev/null; then
  protoc=(protoc)
else
  protoc=("$tools/protoc/bin/python" -m grpc_tools.protoc)
  if ! "${protoc[@]}" --version >/dev/null 2>&1; then
    python3 -m venv --clear "$tools/protoc"
    "$tools/protoc/bin/pip" install --quiet --disable-pip-version-check grpcio-tools==1.76.0
  fi
fi

options=(--go_out=. --go_opt=module=thuban-example --go-grpc_out=. --go-grpc_opt=module=thuban-example)
files=()
for file in "$protos"/thuban/v1/*.proto; do
  file=${file#"$protos/"}
  files+=("$file")
  options+=("--go_opt=M$file=thuban-example/thubanv1" "--go-grpc_opt=M$file=thuban-example/thubanv1")
done
mkdir -p thubanv1
"${protoc[@]}" -I "$protos" "${options[@]}" "${files[@]}"
