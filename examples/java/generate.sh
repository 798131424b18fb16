#!/bin/sh
# Generates classes from the protocol: sh generate.sh FOLDER
# Needs protoc and protoc-gen-grpc-java on PATH.
set -eu
mkdir -p "$1"
protoc -I ../../proto --java_out="$1" --grpc-java_out="$1" \
  jaxchat/v1/chat.proto jaxchat/v1/text.proto jaxchat/v1/service.proto
