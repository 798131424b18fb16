#!/bin/sh
# Generates gen/jaxchat/v1/ from the protocol: sh generate.sh
set -eu
cd "$(dirname "$0")"
mkdir -p gen
python -m grpc_tools.protoc -I ../../proto --python_out=gen --pyi_out=gen --grpc_python_out=gen \
  jaxchat/v1/chat.proto jaxchat/v1/text.proto jaxchat/v1/service.proto
