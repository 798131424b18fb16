#!/bin/sh
# Generates gen/ from the protocol: sh generate.sh
# Needs protoc, and: go install google.golang.org/protobuf/cmd/protoc-gen-go@latest
#                    go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
set -eu
cd "$(dirname "$0")"
mkdir -p gen
options=module=jaxchat.example/gen
for file in chat text service; do # the protocol names no package of Go
  options=$options,Mjaxchat/v1/$file.proto=jaxchat.example/gen/jaxchatv1
done
protoc -I ../../proto --go_out=gen --go_opt="$options" --go-grpc_out=gen --go-grpc_opt="$options" \
  jaxchat/v1/chat.proto jaxchat/v1/text.proto jaxchat/v1/service.proto
