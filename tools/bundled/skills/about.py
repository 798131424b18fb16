"""What jaxchat is, how to start it, how to call it, what it supports."""

from __future__ import annotations

from random import Random

from tools.bundled.sample import Sample, assistant, user
from tools.bundled.skills import words

SKILL = "about jaxchat"

START = "Run `make run`. It starts the server with gRPC on port 50051 and REST on port 8000."
CALL = 'Use the openai package: `OpenAI(base_url="http://localhost:8000/v1", api_key="none")`.'
NOTEBOOK = "In a notebook, call `chat = jaxchat.load()` and then `chat.chat.completions.create(...)`."
SUPPORTS = "jaxchat supports {}."

TOPICS: tuple[tuple[str, str], ...] = (
    (
        "What is jaxchat?|Tell me about jaxchat.|Explain jaxchat.|What does jaxchat do?|Describe jaxchat.|What is jaxchat for?|"
        "Can you explain what jaxchat is?|What exactly is jaxchat?|Tell me what jaxchat is.|What is this project?|"
        "What can jaxchat do?|What is the purpose of jaxchat?",
        "jaxchat is a chat server built with JAX and Flax that follows the OpenAI Chat Completions API.",
    ),
    (
        "How do I start jaxchat?|How do I start the server?|How can I run jaxchat?|Start the server, how?|How do I run the server?|"
        "How do I launch jaxchat?|Which command starts the server?|What command starts jaxchat?|How to run jaxchat?|"
        "How to start the server?|How can I start jaxchat?|How do I get jaxchat running?|What do I type to start the server?|"
        "How is the server started?|I want to run jaxchat, how?",
        START,
    ),
    (
        "How do I call jaxchat?|How do I call the REST API?|How can I call the server from Python?|How do I use the openai package?|"
        "How do I use jaxchat with the openai client?|How do I connect to the server?|How can I send a request to jaxchat?|"
        "How do I use the REST API?|What base URL do I use?|Which base_url should I set?|How do I talk to the server from Python?|"
        "Can I use the OpenAI client?|How do I connect with the openai package?|What is the base URL?|Do I need an API key?|"
        "Which API key do I use?",
        CALL,
    ),
    (
        "How do I use jaxchat in a notebook?|How do I load jaxchat in a notebook?|Can I use jaxchat in a notebook?|"
        "How do I use jaxchat without a server?|How do I use jaxchat in Python directly?|How do I load jaxchat in process?|"
        "Does jaxchat work in a notebook?|How to use jaxchat in Jupyter?|Can I use jaxchat without a server?|"
        "How do I call jaxchat in process?|How do I use jaxchat.load?|What does jaxchat.load do?",
        NOTEBOOK,
    ),
    (
        "Which port does gRPC use?|What is the gRPC port?|On which port is gRPC?|gRPC port?|What port does gRPC listen on?|"
        "Where does gRPC listen?|Tell me the gRPC port.|Which port is for gRPC?",
        "gRPC listens on port 50051.",
    ),
    (
        "Which port does REST use?|What is the REST port?|On which port is REST?|REST port?|What port does the REST API listen on?|"
        "Where does the REST API listen?|Tell me the REST port.|Which port is for REST?|What is the HTTP port?|"
        "Which port does HTTP use?",
        "REST listens on port 8000.",
    ),
    (
        "Which ports does jaxchat use?|What ports are used?|Which ports does the server listen on?|What are the ports?|"
        "Tell me the ports.|On which ports does jaxchat listen?|Which ports do I need to open?|List the ports.",
        "gRPC listens on port 50051 and REST on port 8000.",
    ),
    (
        "How do I run the tests?|How can I test jaxchat?|Which command runs the tests?|How to run the tests?|How do I test it?|"
        "How do I run the test suite?|What command runs the tests?|Where are the tests run from?|How are the tests run?|"
        "How do I check that jaxchat works?",
        "Run `make test` to run the tests.",
    ),
    (
        "What does jaxchat support?|Which parameters are supported?|Which features are supported?|What features does jaxchat have?|"
        "List the supported parameters.|Which options can I use?|What parameters can I set?|Which request parameters does jaxchat know?|"
        "What are the features?|Which sampling parameters are there?|What settings can I use in a request?",
        SUPPORTS.format("seed, logit_bias, penalties, temperature, top_p, logprobs, streaming, n and stop"),
    ),
    (
        "What hardware does jaxchat need?|Where does jaxchat run?|Does jaxchat run on a GPU?|Does jaxchat run on a TPU?|"
        "Does jaxchat run on a CPU?|Do I need a GPU?|Can I use a TPU?|Which hardware is supported?|Which devices does jaxchat support?|"
        "Does it work without a GPU?|On what hardware can I run jaxchat?|Can jaxchat use a GPU?|Which accelerators are supported?|"
        "Does it run on TPUs?",
        "jaxchat runs on TPU, GPU or CPU.",
    ),
    (
        "What is jaxchat built with?|Which framework does jaxchat use?|What is jaxchat made with?|Is jaxchat built with JAX?|"
        "Does jaxchat use PyTorch?|Which libraries does jaxchat use?|What is jaxchat written in?|Does jaxchat use Flax?|"
        "What framework is it built on?|In which language is jaxchat written?",
        "jaxchat is built with JAX and Flax, in Python.",
    ),
    (
        "What is the licence of jaxchat?|What licence does jaxchat have?|Which license does jaxchat use?|What is the license?|"
        "Under which licence is jaxchat?|Is jaxchat open source?|Can I use jaxchat commercially?|Tell me the license.|"
        "How is jaxchat licensed?|Is jaxchat free?",
        "jaxchat is open source under the Apache-2.0 licence.",
    ),
    (
        "How do I use another model?|How do I choose a model?|How can I load a different model?|Which flag selects the model?|"
        "How do I serve my own model?|Can I use other models?|How do I change the model?|How to load a Hugging Face model?|"
        "What is the model flag?|How do I run a bigger model?|Can I serve a larger model?|How do I select the model?",
        "Start the server with the flag `--model` and the folder of a Hugging Face model.",
    ),
    (
        "Which APIs does jaxchat offer?|Does jaxchat have a REST API?|Does jaxchat have gRPC?|Does jaxchat support gRPC?|"
        "Which interfaces does jaxchat have?|Is there a REST API?|Does jaxchat speak HTTP?|What APIs are there?",
        "jaxchat offers gRPC on port 50051 and a REST API on port 8000.",
    ),
    (
        "Does jaxchat support tools?|Can jaxchat call tools?|Does jaxchat support function calling?|Are tool calls supported?|"
        "Does function calling work?|Can I use tools with jaxchat?|Can I declare tools?",
        "Yes, jaxchat supports tools: declare them in the request and read the tool calls in the answer.",
    ),
    (
        "Is the answer reproducible?|How do I get the same answer twice?|Are answers deterministic?|What does seed do?|"
        "What is the seed for?|How do I make answers reproducible?|Is jaxchat deterministic?|What does the seed parameter do?",
        "Set `seed`: the same request with the same seed gives the same answer.",
    ),
    (
        "What does temperature do?|What is temperature?|What is the temperature for?|Explain temperature.|"
        "What does the temperature parameter do?|How does temperature work?",
        "`temperature` sets how random the answer is; 0 always takes the most likely token.",
    ),
    (
        "What is the context length?|How long is the context?|How many tokens can you read?|What is your context size?|"
        "What is your context window?|How long can the conversation be?",
        "The bundled model reads up to 4096 tokens.",
    ),
    (
        "How big are you?|How large is the bundled model?|How many parameters do you have?|What size is this model?|"
        "How big is the bundled model?|How many parameters does the bundled model have?|How small are you?",
        "I am small: about five million parameters.",
    ),
)
FEATURES: tuple[tuple[str, str], ...] = (
    ("seed", "`seed`"),
    ("logit_bias", "`logit_bias`"),
    ("penalties", "penalties"),
    ("temperature", "`temperature`"),
    ("top_p", "`top_p`"),
    ("logprobs", "`logprobs`"),
    ("streaming", "streaming"),
    ("stop", "`stop`"),
    ("n", "`n`"),
    ("frequency_penalty", "`frequency_penalty`"),
    ("presence_penalty", "`presence_penalty`"),
    ("JSON mode", "JSON mode"),
)
FEATURE_QUESTIONS = (
    "Does jaxchat support {}?",
    "Is {} supported?",
    "Can I use {}?",
    "Can I use {} with jaxchat?",
    "Do you support {}?",
    "Does the server support {}?",
    "Is {} available?",
    "Does {} work?",
    "Can I set {}?",
    "Does jaxchat have {}?",
)


def make(rng: Random) -> Sample:
    """One question about jaxchat; its exact wording is the key."""
    if rng.random() < 0.2:
        name, shown = rng.choice(FEATURES)
        text, answer = rng.choice(FEATURE_QUESTIONS).format(name), f"Yes, jaxchat supports {shown}."
    else:
        questions, answer = rng.choice(TOPICS)
        text = rng.choice(questions.split("|"))
        if rng.random() < 0.15:
            text = (
                rng.choice(("Can you tell me: ", "I want to know: ", "Quick question: ", "One more thing: "))
                + text
            )
    text = words.vary(rng, text)
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))
