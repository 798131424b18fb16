// jaxchat over gRPC: `go run . [HOST:PORT]`, after `sh generate.sh`.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jaxchat "jaxchat.example/gen/jaxchatv1"
)

const (
	model      = "jaxchat-bundled"
	sum        = "What is 47 + 38?"
	weather    = "What is the weather in Oslo?"
	result     = `{"temperature": 18, "condition": "sunny"}`
	parameters = `{
  "type": "object",
  "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
  "required": ["city", "unit"],
  "additionalProperties": false
}`
)

// Weather has the arguments of the tool. The server only returns calls that satisfy the schema.
type Weather struct {
	City string `json:"city"`
	Unit string `json:"unit"`
}

func user(text string) *jaxchat.ChatMessage {
	return &jaxchat.ChatMessage{Role: jaxchat.Role_ROLE_USER, ContentKind: &jaxchat.ChatMessage_Text{Text: text}}
}

func request(messages ...*jaxchat.ChatMessage) *jaxchat.ChatCompletionRequest {
	return &jaxchat.ChatCompletionRequest{Model: proto.String(model), Messages: messages}
}

// answers asks the same question twice, plain and streamed: the same seed gives the same text.
func answers(ctx context.Context, chat jaxchat.ChatServiceClient) error {
	question := request(user(sum))
	question.Seed = proto.Int64(7)
	plain, err := chat.Complete(ctx, question)
	if err != nil {
		return err
	}
	content := plain.Choices[0].Message.GetContent()
	fmt.Println("plain:", content)
	stream, err := chat.Stream(ctx, question)
	if err != nil {
		return err
	}
	text, fingerprint := "", ""
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		fingerprint = chunk.SystemFingerprint
		for _, choice := range chunk.Choices { // empty in a chunk that only has the usage
			text += choice.Delta.GetContent()
		}
	}
	fmt.Println("streamed:", text)
	same := "other"
	if text == content && fingerprint == plain.SystemFingerprint {
		same = "same"
	}
	fmt.Printf("seed: %d, %s, %s answer\n", plain.GetSeedUsed(), fingerprint, same)
	return nil
}

func tools(ctx context.Context, chat jaxchat.ChatServiceClient) error {
	function := &jaxchat.FunctionDefinition{Name: proto.String("get_weather"), Parameters: proto.String(parameters)}
	tool := &jaxchat.Tool{Type: jaxchat.ToolType_TOOL_TYPE_FUNCTION, Function: function}
	named := &jaxchat.NamedToolChoice{Type: jaxchat.ToolType_TOOL_TYPE_FUNCTION, Name: proto.String("get_weather")}
	question := request(user(weather))
	question.Tools = []*jaxchat.Tool{tool}
	question.ToolChoice = &jaxchat.ToolChoice{Choice: &jaxchat.ToolChoice_Named{Named: named}}
	question.Temperature = proto.Float64(0)
	called, err := chat.Complete(ctx, question)
	if err != nil {
		return err
	}
	message := called.Choices[0].Message
	question.Messages = append(question.Messages, &jaxchat.ChatMessage{Role: message.Role, ToolCalls: message.ToolCalls})
	for _, call := range message.ToolCalls {
		var arguments Weather
		if err := json.Unmarshal([]byte(call.Function.GetArguments()), &arguments); err != nil {
			return err
		}
		fmt.Printf("call: %s city=%s unit=%s\n", call.Function.GetName(), arguments.City, arguments.Unit)
		question.Messages = append(question.Messages, &jaxchat.ChatMessage{
			Role:        jaxchat.Role_ROLE_TOOL,
			ToolCallId:  call.Id,
			ContentKind: &jaxchat.ChatMessage_Text{Text: result},
		})
	}
	question.ToolChoice = nil
	answer, err := chat.Complete(ctx, question)
	if err != nil {
		return err
	}
	fmt.Println("answer:", answer.Choices[0].Message.GetContent())
	return nil
}

// refused shows which field of a request is wrong.
func refused(ctx context.Context, chat jaxchat.ChatServiceClient) error {
	question := request(user(sum))
	question.Temperature = proto.Float64(9)
	_, err := chat.Complete(ctx, question)
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.FieldViolations {
				fmt.Printf("error: %s: %s\n", violation.Field, violation.Description)
			}
		}
	}
	return nil
}

// limits ends two answers early, which frees the server for others at once.
func limits(ctx context.Context, chat jaxchat.ChatServiceClient) error {
	endless := request(user(sum))
	endless.IgnoreEos = proto.Bool(true)
	short, release := context.WithTimeout(ctx, 100*time.Millisecond)
	defer release()
	if _, err := chat.Complete(short, endless); status.Code(err) != codes.DeadlineExceeded {
		return fmt.Errorf("not late: %w", err)
	}
	fmt.Println("deadline: exceeded")
	cancellable, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := chat.Stream(cancellable, endless)
	if err != nil {
		return err
	}
	chunks := 0
	for ; chunks < 3; chunks++ {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	cancel()
	fmt.Printf("cancelled: after %d chunks\n", chunks)
	return nil
}

func main() {
	address := "localhost:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	chat := jaxchat.NewChatServiceClient(connection)
	examples := []func(context.Context, jaxchat.ChatServiceClient) error{answers, tools, refused, limits}
	for _, example := range examples {
		if err := example(context.Background(), chat); err != nil {
			log.Fatal(err)
		}
	}
}
