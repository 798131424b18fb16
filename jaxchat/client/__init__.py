"""A typed Python client over gRPC with the call shape of the openai package. Needs grpc and protobuf only.

from serving.client import Client
client = Client("localhost:50051")
answer = client.chat.completions.create(model="...", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
"""

from jaxchat.client.asynchronous import AsyncChunkStream, AsyncClient
from jaxchat.client.credentials import tls_credentials
from jaxchat.client.synchronous import ChunkStream, Client

__all__ = ["AsyncChunkStream", "AsyncClient", "ChunkStream", "Client", "tls_credentials"]
