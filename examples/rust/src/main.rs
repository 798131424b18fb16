//! jaxchat over gRPC: `cargo run -- [HOST:PORT]`.

use std::time::Duration;

use serde::Deserialize;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt;

#[allow(clippy::all)]
mod jaxchat {
    tonic::include_proto!("jaxchat.v1");
}

use jaxchat::chat_message::ContentKind;
use jaxchat::chat_service_client::ChatServiceClient;
use jaxchat::tool_choice::Choice;
use jaxchat::{
    ChatCompletionRequest, ChatMessage, FunctionDefinition, NamedToolChoice, Role, Tool, ToolChoice, ToolType,
};

type Chat = ChatServiceClient<Channel>;
type Failure = Box<dyn std::error::Error>;

const MODEL: &str = "jaxchat-bundled";
const SUM: &str = "What is 47 + 38?";
const WEATHER: &str = "What is the weather in Oslo?";
const RESULT: &str = r#"{"temperature": 18, "condition": "sunny"}"#;
const PARAMETERS: &str = r#"{
  "type": "object",
  "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
  "required": ["city", "unit"],
  "additionalProperties": false
}"#;

/// Arguments of the tool. The server only returns calls that satisfy the schema.
#[derive(Deserialize)]
struct Weather {
    city: String,
    unit: String,
}

fn text(role: Role, text: &str) -> ChatMessage {
    ChatMessage { role: role.into(), content_kind: Some(ContentKind::Text(text.into())), ..Default::default() }
}

fn request(messages: Vec<ChatMessage>) -> ChatCompletionRequest {
    ChatCompletionRequest { model: Some(MODEL.into()), messages, ..Default::default() }
}

/// Asks the same question twice, plain and streamed: the same seed gives the same text.
async fn answers(chat: &mut Chat) -> Result<(), Failure> {
    let question = ChatCompletionRequest { seed: Some(7), ..request(vec![text(Role::User, SUM)]) };
    let plain = chat.complete(question.clone()).await?.into_inner();
    let content = plain.choices[0].message.as_ref().ok_or("no message")?.content();
    println!("plain: {content}");
    let mut stream = chat.stream(question).await?.into_inner();
    let (mut streamed, mut fingerprint) = (String::new(), String::new());
    while let Some(chunk) = stream.message().await? {
        fingerprint = chunk.system_fingerprint;
        for delta in chunk.choices.iter().flat_map(|choice| &choice.delta) {
            streamed += delta.content();
        }
    }
    println!("streamed: {streamed}");
    let same = if streamed == content && fingerprint == plain.system_fingerprint { "same" } else { "other" };
    println!("seed: {}, {fingerprint}, {same} answer", plain.seed_used());
    Ok(())
}

async fn tools(chat: &mut Chat) -> Result<(), Failure> {
    let name = Some("get_weather".to_string());
    let function = FunctionDefinition { name: name.clone(), parameters: Some(PARAMETERS.into()), ..Default::default() };
    let tool = Tool { r#type: ToolType::Function.into(), function: Some(function) };
    let named = NamedToolChoice { r#type: ToolType::Function.into(), name };
    let mut question = ChatCompletionRequest {
        tools: vec![tool],
        tool_choice: Some(ToolChoice { choice: Some(Choice::Named(named)) }),
        temperature: Some(0.0),
        ..request(vec![text(Role::User, WEATHER)])
    };
    let called = chat.complete(question.clone()).await?.into_inner();
    let message = called.choices[0].message.clone().ok_or("no message")?;
    let calls = message.tool_calls;
    question.messages.push(ChatMessage { role: message.role, tool_calls: calls.clone(), ..Default::default() });
    for call in calls {
        let function = call.function.ok_or("no function")?;
        let Weather { city, unit } = serde_json::from_str(function.arguments())?;
        println!("call: {} city={city} unit={unit}", function.name());
        question.messages.push(ChatMessage { tool_call_id: call.id, ..text(Role::Tool, RESULT) });
    }
    question.tool_choice = None;
    let answer = chat.complete(question).await?.into_inner();
    println!("answer: {}", answer.choices[0].message.as_ref().ok_or("no message")?.content());
    Ok(())
}

/// Shows which field of a request is wrong.
async fn refused(chat: &mut Chat) -> Result<(), Failure> {
    let question = ChatCompletionRequest { temperature: Some(9.0), ..request(vec![text(Role::User, SUM)]) };
    let status = chat.complete(question).await.expect_err("the server takes any temperature");
    for violation in status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations) {
        println!("error: {}: {}", violation.field, violation.description);
    }
    Ok(())
}

/// Ends two answers early, which frees the server for others at once.
async fn limits(chat: &mut Chat) -> Result<(), Failure> {
    let endless = ChatCompletionRequest { ignore_eos: Some(true), ..request(vec![text(Role::User, SUM)]) };
    let mut short = Request::new(endless.clone());
    short.set_timeout(Duration::from_millis(100));
    let late = chat.complete(short).await.expect_err("an endless answer ended");
    // The server and tonic both watch the time. tonic says "cancelled" where it is first.
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");
    println!("deadline: exceeded");
    let mut stream = chat.stream(endless).await?.into_inner();
    let mut chunks = 0;
    while chunks < 3 && stream.message().await?.is_some() {
        chunks += 1;
    }
    drop(stream); // cancels the call
    println!("cancelled: after {chunks} chunks");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let address = std::env::args().nth(1).unwrap_or("localhost:50051".into());
    let mut chat = ChatServiceClient::connect(format!("http://{address}")).await?;
    answers(&mut chat).await?;
    tools(&mut chat).await?;
    refused(&mut chat).await?;
    limits(&mut chat).await
}
