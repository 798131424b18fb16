"""The tools that conversations declare: what they take, how users ask for them, what they return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tools.bundled.skills import words

Fill = Callable[[Random], Any]


@dataclass(frozen=True)
class Param:
    """A parameter: JSON type, a generator of values, and the closed set of values if there is one."""

    kind: str
    fill: Fill
    enum: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {"type": self.kind} | ({"enum": list(self.enum)} if self.enum else {})


@dataclass(frozen=True)
class Tool:
    """A tool. `asks` and `answers` are templates over arguments and, for answers, the fields of the result.

    An ask that leaves a parameter out is a call without it; such a parameter is not required.
    """

    names: tuple[str, ...]
    description: str
    params: dict[str, Param]
    asks: tuple[str, ...]
    returns: dict[str, Fill]
    answer: str

    def declaration(self, rng: Random) -> dict[str, Any]:
        """An OpenAI tool declaration, under one of the names, with the parameters in random order."""
        order = rng.sample(list(self.params), len(self.params))
        required = [name for name in self.params if all(f"{{{name}}}" in ask for ask in self.asks)]
        parameters = {"type": "object", "properties": {name: self.params[name].schema() for name in order}}
        if rng.random() < 0.7:
            parameters["required"] = required
        function = {"name": rng.choice(self.names), "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def text(fill: Fill) -> Param:
    """A string parameter."""
    return Param("string", fill)


def whole(low: int, high: int) -> Param:
    """An integer parameter in [low, high)."""
    return Param("integer", lambda rng: rng.randrange(low, high))


def amount() -> Param:
    """A number parameter."""
    return Param("number", words.price)


def one_of(*values: str) -> Param:
    """A string parameter with a closed set of values."""
    return Param("string", lambda rng: rng.choice(values), values)


def _task(rng: Random) -> str:
    verb, noun = (
        rng.choice(("buy", "clean", "sell", "repair", "paint", "find", "wash", "call")),
        rng.choice(words.PRODUCTS),
    )
    return f"{verb} the {noun}" if rng.random() < 0.7 else f"{verb} {words.made_up(rng)}"


def _topic(rng: Random) -> str:
    return rng.choice(
        (
            rng.choice(words.FOODS),
            rng.choice(words.PRODUCTS),
            words.made_up(rng),
            f"{rng.choice(words.COLOURS)} {rng.choice(words.PRODUCTS)}",
        )
    )


def _song(rng: Random) -> str:
    return f"{words.made_up(rng).capitalize()} {rng.choice(('Song', 'Blues', 'Waltz', 'Nights', 'Road', 'Love', 'Dance'))}"


def _ticker(rng: Random) -> str:
    return rng.choice(
        (
            "AAPL",
            "MSFT",
            "GOOG",
            "NVDA",
            "TSLA",
            words.made_up(rng)[:4].upper(),
            words.made_up(rng)[:3].upper(),
        )
    )


def _sum(rng: Random) -> str:
    return f"{rng.randrange(2, 1000)} {rng.choice('*/')} {rng.randrange(2, 1000)}"


def _choice(*values: str) -> Fill:
    return lambda rng: rng.choice(values)


_CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CHF", "NOK", "SEK", "INR")
_ROOMS = ("kitchen", "bedroom", "bathroom", "living room", "office", "garage", "hall")
_UNITS = ("km", "miles", "kg", "pounds", "metres", "feet", "litres", "gallons")

TOOLS: tuple[Tool, ...] = (
    Tool(
        ("get_weather", "weather", "current_weather"),
        "Get the current weather in a city.",
        {"city": text(words.city)},
        (
            "What is the weather in {city}?",
            "How is the weather in {city}?",
            "Weather in {city}?",
            "Is it raining in {city}?",
            "Tell me the weather in {city}.",
            "What's the weather like in {city} today?",
            "Is it cold in {city}?",
            "How warm is it in {city}?",
        ),
        {
            "temperature": lambda rng: rng.randrange(-15, 40),
            "condition": _choice("sunny", "cloudy", "rainy", "snowy", "windy", "foggy", "clear"),
        },
        "It is {temperature} degrees and {condition} in {city}.",
    ),
    Tool(
        ("get_weather", "get_forecast", "forecast"),
        "Get the weather for a location.",
        {"location": text(words.city), "unit": one_of("celsius", "fahrenheit")},
        (
            "What is the weather in {location} in {unit}?",
            "How warm is it in {location} in {unit}?",
            "Temperature in {location} in {unit}, please.",
            "Tell me the temperature in {location} in {unit}.",
        ),
        {"temperature": lambda rng: rng.randrange(-15, 99)},
        "It is {temperature} degrees {unit} in {location}.",
    ),
    Tool(
        ("get_time", "current_time", "time_in"),
        "Get the local time of a city.",
        {"city": text(words.city)},
        (
            "What time is it in {city}?",
            "Time in {city}?",
            "Tell me the time in {city}.",
            "What is the local time in {city}?",
            "How late is it in {city}?",
        ),
        {"time": words.clock},
        "It is {time} in {city}.",
    ),
    Tool(
        ("web_search", "search", "search_web"),
        "Search the web.",
        {"query": text(_topic)},
        (
            "Search for {query}.",
            "Search the web for {query}.",
            "Look up {query}.",
            "Find pages about {query}.",
            "Google {query}.",
        ),
        {"results": lambda rng: rng.randrange(1, 500)},
        "I found {results} results for {query}.",
    ),
    Tool(
        ("send_email", "email", "send_mail"),
        "Send an email.",
        {"to": text(words.email), "subject": text(_topic)},
        (
            "Send an email to {to} about {subject}.",
            "Email {to} about {subject}.",
            "Write to {to} about {subject}.",
            "Mail {to} with the subject {subject}.",
        ),
        {"status": _choice("sent", "queued", "delivered")},
        "The email to {to} is {status}.",
    ),
    Tool(
        ("calculator", "calculate", "evaluate"),
        "Evaluate an arithmetic expression.",
        {"expression": text(_sum)},
        (
            "What is {expression}?",
            "Calculate {expression}.",
            "Compute {expression}.",
            "How much is {expression}?",
            "{expression}",
        ),
        {"result": lambda rng: rng.randrange(1, 100000)},
        "{expression} = {result}.",
    ),
    Tool(
        ("create_event", "add_event", "schedule_meeting"),
        "Add an event to the calendar.",
        {"title": text(_topic), "date": text(words.date), "time": text(words.clock)},
        (
            "Schedule {title} on {date} at {time}.",
            "Add {title} to my calendar on {date} at {time}.",
            "Put {title} on {date} at {time}.",
            "Create an event for {title} on {date}.",
        ),
        {"id": lambda rng: rng.randrange(1000)},
        "I added {title} to the calendar on {date}.",
    ),
    Tool(
        ("set_timer", "start_timer", "timer"),
        "Start a timer.",
        {"minutes": whole(1, 180)},
        (
            "Set a timer for {minutes} minutes.",
            "Start a timer of {minutes} minutes.",
            "Timer for {minutes} minutes, please.",
            "Wake me in {minutes} minutes.",
        ),
        {"ends": words.clock},
        "The timer ends at {ends}.",
    ),
    Tool(
        ("set_alarm", "alarm"),
        "Set an alarm.",
        {"time": text(words.clock)},
        (
            "Set an alarm for {time}.",
            "Wake me at {time}.",
            "Alarm at {time}, please.",
            "Wake me up at {time}.",
        ),
        {"status": _choice("set", "active")},
        "The alarm for {time} is {status}.",
    ),
    Tool(
        ("translate", "translate_text"),
        "Translate a text.",
        {"text": text(_task), "language": text(lambda rng: rng.choice(words.LANGUAGES))},
        (
            'Translate "{text}" to {language}.',
            'How do you say "{text}" in {language}?',
            'What is "{text}" in {language}?',
            'Say "{text}" in {language}.',
        ),
        {"translation": lambda rng: f"{words.made_up(rng)} {words.made_up(rng)}"},
        'In {language} it is "{translation}".',
    ),
    Tool(
        ("get_stock_price", "stock_price", "quote"),
        "Get the price of a stock.",
        {"symbol": text(_ticker)},
        (
            "What is the stock price of {symbol}?",
            "How much is {symbol} stock?",
            "Price of {symbol} shares?",
            "How is {symbol} trading?",
            "Get the stock price of {symbol}.",
        ),
        {"price": words.price},
        "{symbol} trades at {price} dollars.",
    ),
    Tool(
        ("convert_currency", "currency", "exchange"),
        "Convert an amount between currencies.",
        {
            "amount": amount(),
            "from": text(lambda rng: rng.choice(_CURRENCIES)),
            "to": text(lambda rng: rng.choice(_CURRENCIES)),
        },
        (
            "Convert {amount} {from} to {to}.",
            "How much is {amount} {from} in {to}?",
            "What is {amount} {from} in {to}?",
            "Change {amount} {from} into {to}.",
        ),
        {"result": words.price},
        "{amount} {from} is {result} {to}.",
    ),
    Tool(
        ("convert_units", "unit_conversion"),
        "Convert between units.",
        {
            "value": amount(),
            "from_unit": text(lambda rng: rng.choice(_UNITS)),
            "to_unit": text(lambda rng: rng.choice(_UNITS)),
        },
        (
            "Convert {value} {from_unit} to {to_unit}.",
            "How many {to_unit} are {value} {from_unit}?",
            "What is {value} {from_unit} in {to_unit}?",
        ),
        {"result": words.price},
        "{value} {from_unit} is {result} {to_unit}.",
    ),
    Tool(
        ("search_flights", "find_flights", "flights"),
        "Find flights between two cities.",
        {"origin": text(words.city), "destination": text(words.city), "date": text(words.date)},
        (
            "Find flights from {origin} to {destination} on {date}.",
            "Search a flight from {origin} to {destination} on {date}.",
            "I want to fly from {origin} to {destination} on {date}.",
            "Flights to {destination} from {origin}?",
            "Fly from {origin} to {destination}.",
        ),
        {"price": words.price},
        "The flight from {origin} to {destination} costs {price} dollars.",
    ),
    Tool(
        ("play_music", "play_song", "play"),
        "Play a song.",
        {"song": text(_song)},
        (
            "Play {song}.",
            "Please play {song}.",
            "I want to hear {song}.",
            "Put on {song}.",
            "Play the song {song}.",
        ),
        {"status": _choice("playing", "queued")},
        "{song} is {status}.",
    ),
    Tool(
        ("create_note", "add_note", "save_note"),
        "Save a note.",
        {"text": text(_task)},
        (
            "Make a note: {text}.",
            "Note: {text}.",
            "Write down: {text}.",
            "Save a note: {text}.",
            "Take a note: {text}.",
        ),
        {"id": lambda rng: rng.randrange(1000)},
        "I saved note {id}.",
    ),
    Tool(
        ("add_reminder", "set_reminder", "remind"),
        "Set a reminder.",
        {"text": text(_task), "time": text(words.clock)},
        (
            "Remind me to {text} at {time}.",
            "Set a reminder to {text} at {time}.",
            "At {time}, remind me to {text}.",
        ),
        {"status": _choice("set", "saved")},
        "The reminder for {time} is {status}.",
    ),
    Tool(
        ("set_lights", "lights", "switch_light"),
        "Switch the lights of a room.",
        {"room": text(_choice(*_ROOMS)), "state": one_of("on", "off")},
        (
            "Turn {state} the lights in the {room}.",
            "Turn the {room} lights {state}.",
            "Switch {state} the light in the {room}.",
            "Lights {state} in the {room}, please.",
        ),
        {"status": _choice("done", "ok")},
        "The lights in the {room} are {state}.",
    ),
    Tool(
        ("set_temperature", "set_thermostat", "heating"),
        "Set the temperature of a room.",
        {"room": text(_choice(*_ROOMS)), "degrees": whole(10, 30)},
        (
            "Set the {room} to {degrees} degrees.",
            "Heat the {room} to {degrees} degrees.",
            "Make the {room} {degrees} degrees warm.",
        ),
        {"status": _choice("done", "ok")},
        "The {room} is set to {degrees} degrees.",
    ),
    Tool(
        ("call_contact", "phone_call", "make_call"),
        "Call a person.",
        {"name": text(words.first_name)},
        ("Call {name}.", "Phone {name}.", "Please call {name}.", "Ring {name}.", "Give {name} a call."),
        {"status": _choice("ringing", "busy", "connected")},
        "The call to {name} is {status}.",
    ),
    Tool(
        ("send_message", "text_message", "send_sms"),
        "Send a message to a person.",
        {"recipient": text(words.first_name), "message": text(_task)},
        (
            'Send {recipient} the message "{message}".',
            'Text {recipient} "{message}".',
            'Tell {recipient} "{message}".',
            'Message "{message}" to {recipient}.',
        ),
        {"status": _choice("sent", "delivered")},
        "The message to {recipient} is {status}.",
    ),
    Tool(
        ("order_product", "place_order", "buy"),
        "Order a product.",
        {"product": text(lambda rng: rng.choice(words.PRODUCTS)), "quantity": whole(1, 50)},
        (
            "Order {quantity} of the {product}.",
            "Buy {quantity} x {product}.",
            "I want {quantity} of {product}.",
            "Get me {quantity} of the {product}.",
        ),
        {"price": words.price},
        "The order of {quantity} x {product} costs {price} dollars.",
    ),
    Tool(
        ("find_restaurants", "restaurant_search"),
        "Find restaurants.",
        {"food": text(lambda rng: rng.choice(words.FOODS)), "city": text(words.city)},
        (
            "Find a restaurant with {food} in {city}.",
            "Where can I eat {food} in {city}?",
            "I want to eat {food} in {city}.",
            "Restaurants for {food} in {city}?",
        ),
        {"name": words.company},
        "You can eat {food} at {name} in {city}.",
    ),
    Tool(
        ("get_user", "find_user", "lookup_user"),
        "Look up a user by id.",
        {"user_id": whole(1, 10000)},
        (
            "Who is user {user_id}?",
            "Look up user {user_id}.",
            "Get user {user_id}.",
            "Show me user {user_id}.",
            "Find the user with id {user_id}.",
        ),
        {"name": words.full_name},
        "User {user_id} is {name}.",
    ),
    Tool(
        ("track_package", "track_order", "package_status"),
        "Track a package.",
        {"number": text(lambda rng: f"{words.made_up(rng)[:2].upper()}{rng.randrange(1000, 100000)}")},
        (
            "Where is my package {number}?",
            "Track package {number}.",
            "Track {number}.",
            "What is the status of package {number}?",
        ),
        {"location": words.city},
        "Package {number} is in {location}.",
    ),
    Tool(
        ("roll_dice", "dice"),
        "Roll dice.",
        {"count": whole(1, 10), "sides": whole(2, 100)},
        (
            "Roll {count} dice with {sides} sides.",
            "Throw {count} dice with {sides} sides.",
            "Roll {count} dice of {sides} sides.",
        ),
        {"total": lambda rng: rng.randrange(1, 200)},
        "The total is {total}.",
    ),
    Tool(
        ("set_volume", "volume"),
        "Set the volume.",
        {"level": whole(0, 101)},
        (
            "Set the volume to {level}.",
            "Volume {level}.",
            "Turn the volume to {level}.",
            "Make the volume {level}.",
        ),
        {"status": _choice("done", "ok")},
        "The volume is {level}.",
    ),
    Tool(
        ("get_news", "news", "headlines"),
        "Get the latest news about a topic.",
        {"topic": text(_topic)},
        (
            "What is the news about {topic}?",
            "News about {topic}?",
            "Show me news about {topic}.",
            "Any headlines about {topic}?",
        ),
        {"headline": lambda rng: f"{words.full_name(rng)} likes {rng.choice(words.FOODS)}"},
        "The latest news about {topic}: {headline}.",
    ),
)


def invented(rng: Random) -> Tool:
    """A tool that exists nowhere; the user speaks of it in the words of its declaration."""
    verb, noun = words.made_up(rng), rng.choice((words.made_up(rng), rng.choice(words.PRODUCTS)))
    names = rng.sample(
        (
            "size",
            "label",
            "count",
            "target",
            "mode",
            "speed",
            "code",
            "owner",
            "weight",
            "place",
            "level",
            words.made_up(rng),
        ),
        rng.choice((1, 1, 2, 2, 3)),
    )
    kinds = (
        lambda: text(words.made_up),
        lambda: text(lambda r: words.made_up(r).capitalize()),
        lambda: whole(0, 1000),
        lambda: one_of(*dict.fromkeys(words.made_up(rng) for _ in range(3))),
        lambda: Param("boolean", lambda r: r.random() < 0.5),
    )
    params = {name: rng.choice(kinds)() for name in names}
    slots = words.listed([f"{name} {{{name}}}" for name in names])
    asks = (
        f"{verb.capitalize()} the {noun} with {slots}.",
        f"Please {verb} the {noun} with {slots}.",
        f"I want to {verb} the {noun} with {slots}.",
        f"{verb} {noun}: {slots}",
    )
    field = rng.choice(("status", "result", "total", words.made_up(rng)))
    return Tool(
        (f"{verb}_{noun}", f"{verb}_{noun}", verb),
        f"{verb.capitalize()} a {noun}.",
        params,
        asks,
        {field: lambda r: rng.choice((words.made_up(r), r.randrange(1000)))},
        f"The {field} is {{{field}}}.",
    )
