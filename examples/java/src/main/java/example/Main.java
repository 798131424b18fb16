package example;

import com.google.gson.Gson;
import com.google.rpc.BadRequest;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import jaxchat.v1.Chat.AssistantMessage;
import jaxchat.v1.Chat.ChatCompletion;
import jaxchat.v1.Chat.ChatCompletionChunk;
import jaxchat.v1.Chat.ChatCompletionRequest;
import jaxchat.v1.Chat.ChatMessage;
import jaxchat.v1.Chat.ChunkChoice;
import jaxchat.v1.Chat.FunctionDefinition;
import jaxchat.v1.Chat.NamedToolChoice;
import jaxchat.v1.Chat.Role;
import jaxchat.v1.Chat.Tool;
import jaxchat.v1.Chat.ToolCall;
import jaxchat.v1.Chat.ToolChoice;
import jaxchat.v1.Chat.ToolType;
import jaxchat.v1.ChatServiceGrpc;
import jaxchat.v1.ChatServiceGrpc.ChatServiceBlockingStub;
import java.util.Iterator;
import java.util.concurrent.TimeUnit;

/** jaxchat over gRPC: {@code mvn -q compile exec:java -Dexec.args=HOST:PORT}. */
public final class Main {
    private static final String MODEL = "jaxchat-bundled";
    private static final String SUM = "What is 47 + 38?";
    private static final String WEATHER = "What is the weather in Oslo?";
    private static final String RESULT = "{\"temperature\": 18, \"condition\": \"sunny\"}";
    private static final String PARAMETERS =
            """
            {
              "type": "object",
              "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
              "required": ["city", "unit"],
              "additionalProperties": false
            }""";

    /** Units of a temperature, spelled as in the schema. */
    enum Unit { celsius, fahrenheit }

    /** Arguments of the tool. The server only returns calls that satisfy the schema. */
    static final class Weather {
        String city;
        Unit unit;
    }

    private static ChatMessage text(Role role, String text) {
        return ChatMessage.newBuilder().setRole(role).setText(text).build();
    }

    private static ChatCompletionRequest.Builder request(String question) {
        return ChatCompletionRequest.newBuilder().setModel(MODEL).addMessages(text(Role.ROLE_USER, question));
    }

    /** Asks the same question twice, plain and streamed: the same seed gives the same text. */
    private static void answers(ChatServiceBlockingStub chat) {
        ChatCompletionRequest question = request(SUM).setSeed(7).build();
        ChatCompletion plain = chat.complete(question);
        String content = plain.getChoices(0).getMessage().getContent();
        System.out.println("plain: " + content);
        StringBuilder streamed = new StringBuilder();
        String fingerprint = "";
        Iterator<ChatCompletionChunk> chunks = chat.stream(question);
        while (chunks.hasNext()) {
            ChatCompletionChunk chunk = chunks.next();
            fingerprint = chunk.getSystemFingerprint();
            for (ChunkChoice choice : chunk.getChoicesList()) { // empty in a chunk that only has the usage
                streamed.append(choice.getDelta().getContent());
            }
        }
        System.out.println("streamed: " + streamed);
        boolean same = content.contentEquals(streamed) && fingerprint.equals(plain.getSystemFingerprint());
        System.out.printf("seed: %d, %s, %s answer%n", plain.getSeedUsed(), fingerprint, same ? "same" : "other");
    }

    private static void tools(ChatServiceBlockingStub chat) {
        FunctionDefinition function =
                FunctionDefinition.newBuilder().setName("get_weather").setParameters(PARAMETERS).build();
        NamedToolChoice named =
                NamedToolChoice.newBuilder().setType(ToolType.TOOL_TYPE_FUNCTION).setName("get_weather").build();
        ChatCompletionRequest.Builder question = request(WEATHER)
                .addTools(Tool.newBuilder().setType(ToolType.TOOL_TYPE_FUNCTION).setFunction(function))
                .setToolChoice(ToolChoice.newBuilder().setNamed(named))
                .setTemperature(0);
        AssistantMessage message = chat.complete(question.build()).getChoices(0).getMessage();
        question.addMessages(
                ChatMessage.newBuilder().setRole(message.getRole()).addAllToolCalls(message.getToolCallsList()));
        for (ToolCall call : message.getToolCallsList()) {
            Weather arguments = new Gson().fromJson(call.getFunction().getArguments(), Weather.class);
            System.out.printf(
                    "call: %s city=%s unit=%s%n", call.getFunction().getName(), arguments.city, arguments.unit);
            question.addMessages(text(Role.ROLE_TOOL, RESULT).toBuilder().setToolCallId(call.getId()));
        }
        ChatCompletion answer = chat.complete(question.clearToolChoice().build());
        System.out.println("answer: " + answer.getChoices(0).getMessage().getContent());
    }

    /** Shows which field of a request is wrong. */
    private static void refused(ChatServiceBlockingStub chat) throws Exception {
        try {
            chat.complete(request(SUM).setTemperature(9).build());
        } catch (StatusRuntimeException refused) {
            for (com.google.protobuf.Any detail : StatusProto.fromThrowable(refused).getDetailsList()) {
                if (detail.is(BadRequest.class)) {
                    for (BadRequest.FieldViolation violation :
                            detail.unpack(BadRequest.class).getFieldViolationsList()) {
                        System.out.printf("error: %s: %s%n", violation.getField(), violation.getDescription());
                    }
                }
            }
        }
    }

    /** Ends two answers early, which frees the server for others at once. */
    private static void limits(ChatServiceBlockingStub chat) {
        ChatCompletionRequest endless = request(SUM).setIgnoreEos(true).build();
        try {
            chat.withDeadlineAfter(100, TimeUnit.MILLISECONDS).complete(endless);
        } catch (StatusRuntimeException late) {
            boolean expected = late.getStatus().getCode() == Status.Code.DEADLINE_EXCEEDED;
            System.out.println("deadline: " + (expected ? "exceeded" : late));
        }
        Context.CancellableContext context = Context.current().withCancellation();
        context.run(() -> {
            Iterator<ChatCompletionChunk> chunks = chat.stream(endless);
            int count = 0;
            while (count < 3 && chunks.hasNext()) {
                chunks.next();
                count++;
            }
            context.cancel(null);
            System.out.printf("cancelled: after %d chunks%n", count);
        });
    }

    public static void main(String[] args) throws Exception {
        String address = args.length > 0 ? args[0] : "localhost:50051";
        ManagedChannel channel = ManagedChannelBuilder.forTarget(address).usePlaintext().build();
        try {
            ChatServiceBlockingStub chat = ChatServiceGrpc.newBlockingStub(channel);
            answers(chat);
            tools(chat);
            refused(chat);
            limits(chat);
        } finally {
            channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
        }
    }
}
