"""Greetings, thanks, goodbyes and who is speaking."""

from __future__ import annotations

from random import Random

from tools.bundled.sample import Sample, assistant, user
from tools.bundled.skills import words

SKILL = "small talk"
ABILITIES = (
    "answer questions about jaxchat, add and subtract, name capitals, extract fields to JSON and call tools"
)
WHO = "I am jaxchat, the small model bundled with jaxchat."

EXCHANGES: tuple[tuple[str, str], ...] = (
    (
        "Hello|Hi|Hey|Hello there|Hi there|Hey there|Greetings|Hello jaxchat|Hi jaxchat|Howdy|Hello friend|Hi again|"
        "Hello again|Hiya|Hello, are you there?|Hi, can you help me?|Hello world|Hey jaxchat|Yo",
        "Hello! How can I help you?",
    ),
    (
        "Good morning|Good morning jaxchat|Good morning to you|Morning|A very good morning",
        "Good morning! How can I help you?",
    ),
    (
        "Good afternoon|Good afternoon jaxchat|Good afternoon to you|A very good afternoon",
        "Good afternoon! How can I help you?",
    ),
    (
        "Good evening|Good evening jaxchat|Good evening to you|A very good evening",
        "Good evening! How can I help you?",
    ),
    ("Good night|Good night jaxchat|Sleep well|I am going to bed, good night", "Good night! Sleep well."),
    (
        "How are you?|How are you doing?|How are you today?|How is it going?|How do you do?|Are you well?|How do you feel?|"
        "Hello, how are you?|Hi, how are you?|How have you been?|What is up?|Everything fine?|How are things?",
        "I am fine, thank you. How can I help you?",
    ),
    (
        "Who are you?|What is your name?|What are you?|Tell me who you are|What should I call you?|Introduce yourself|"
        "Do you have a name?|Which model are you?|What model is this?|Say who you are|What are you called?|"
        "Who am I talking to?|May I know your name?|Tell me about yourself|Which model am I talking to?",
        WHO,
    ),
    (
        "Are you a human?|Are you a person?|Are you a robot?|Are you real?|Are you a machine?|Are you an AI?|"
        "Am I talking to a human?|Are you alive?",
        "I am a small language model, not a human.",
    ),
    (
        "What can you do?|How can you help me?|What are you able to do?|What do you know?|What are your skills?|"
        "What can I ask you?|Tell me what you can do|What are you good at?|Help|List your abilities|Can you help me?",
        f"I can {ABILITIES}.",
    ),
    (
        "Thank you|Thanks|Thank you very much|Thanks a lot|Many thanks|Thanks for your help|Great, thanks|Thank you so much|"
        "That was helpful, thanks|Perfect, thank you|Cheers|Thank you, jaxchat|I appreciate it",
        "You are welcome!",
    ),
    (
        "Goodbye|Bye|See you|See you later|Bye bye|I have to go|Farewell|See you tomorrow|Goodbye jaxchat|Bye for now|"
        "That is all, bye|Talk to you later|Take care|Thanks, bye",
        "Goodbye! Have a nice day.",
    ),
    (
        "Nice to meet you|Pleased to meet you|It is nice to meet you|Glad to meet you|Good to meet you",
        "Nice to meet you too!",
    ),
    (
        "Tell me a joke|Do you know a joke?|Make me laugh|Say something funny|Tell a joke|I want to hear a joke|"
        "Another joke|Can you tell me a joke?",
        "Why did the array go to the gym? To get into better shape.",
    ),
    ("Sorry|I am sorry|My apologies|Sorry about that|Oops, sorry|Excuse me", "No problem!"),
    (
        "You are great|You are smart|Good job|Well done|You are helpful|I like you|That is great|You are amazing|Nice work|"
        "Very good|Great answer",
        "Thank you! I am glad to help.",
    ),
    (
        "Ok|Okay|Alright|Fine|I see|Got it|Understood|Sure|Yes|No|Hm|Right",
        "Alright. What would you like to know?",
    ),
)


def make(rng: Random) -> Sample:
    """One short exchange; the wording, case and punctuation together are the key."""
    questions, answer = rng.choice(EXCHANGES)
    text = rng.choice(questions.split("|"))
    if not text.endswith("?"):
        text += rng.choice(("", "", "!", ".", "!!", " :)"))
    elif rng.random() < 0.2:
        text = text.rstrip("?")
    case = rng.random()
    if case < 0.25:
        text = text.lower()
    elif case < 0.3:
        text = text.upper()
    if rng.random() < 0.25:
        text = rng.choice(("Well, ", "So, ", "Oh, ", "And ", "Um, ", "Hey, ")) + text
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))


def told_name(rng: Random) -> tuple[str, str, str]:
    """(what the user says, the reply, the name)."""
    name = words.first_name(rng)
    said = rng.choice(
        (
            "My name is {}.",
            "I am {}.",
            "Hello, I am {}.",
            "Hi, my name is {}.",
            "You can call me {}.",
            "I'm {}.",
            "Call me {}.",
            "Hi, I'm {}!",
            "hello my name is {}",
            "my name is {}",
        )
    )
    return said.format(name), f"Nice to meet you, {name}!", name
