"""Countries and their capitals, in both directions."""

from __future__ import annotations

from random import Random

from tools.bundled.sample import Sample, assistant, user
from tools.bundled.skills import words

SKILL = "capitals"

CAPITALS: dict[str, str] = dict(
    line.split(":")
    for line in (
        "France:Paris|Spain:Madrid|Portugal:Lisbon|Germany:Berlin|Italy:Rome|Austria:Vienna|Switzerland:Bern|"
        "Belgium:Brussels|the Netherlands:Amsterdam|Luxembourg:Luxembourg City|the United Kingdom:London|Ireland:Dublin|"
        "Iceland:Reykjavik|Norway:Oslo|Sweden:Stockholm|Denmark:Copenhagen|Finland:Helsinki|Estonia:Tallinn|Latvia:Riga|"
        "Lithuania:Vilnius|Poland:Warsaw|the Czech Republic:Prague|Slovakia:Bratislava|Hungary:Budapest|"
        "Slovenia:Ljubljana|Croatia:Zagreb|Serbia:Belgrade|Bosnia and Herzegovina:Sarajevo|Montenegro:Podgorica|"
        "Albania:Tirana|North Macedonia:Skopje|Greece:Athens|Bulgaria:Sofia|Romania:Bucharest|Moldova:Chisinau|"
        "Ukraine:Kyiv|Belarus:Minsk|Russia:Moscow|Turkey:Ankara|Cyprus:Nicosia|Malta:Valletta|Georgia:Tbilisi|"
        "Armenia:Yerevan|Azerbaijan:Baku|Kazakhstan:Astana|Uzbekistan:Tashkent|Turkmenistan:Ashgabat|Kyrgyzstan:Bishkek|"
        "Tajikistan:Dushanbe|Afghanistan:Kabul|Pakistan:Islamabad|India:New Delhi|Nepal:Kathmandu|Bhutan:Thimphu|"
        "Bangladesh:Dhaka|Myanmar:Naypyidaw|Thailand:Bangkok|Laos:Vientiane|Cambodia:Phnom Penh|Vietnam:Hanoi|"
        "Malaysia:Kuala Lumpur|Singapore:Singapore|Indonesia:Jakarta|the Philippines:Manila|China:Beijing|"
        "Mongolia:Ulaanbaatar|North Korea:Pyongyang|South Korea:Seoul|Japan:Tokyo|Taiwan:Taipei|Iran:Tehran|Iraq:Baghdad|"
        "Syria:Damascus|Lebanon:Beirut|Jordan:Amman|Saudi Arabia:Riyadh|Yemen:Sanaa|Oman:Muscat|"
        "the United Arab Emirates:Abu Dhabi|Qatar:Doha|Bahrain:Manama|Kuwait:Kuwait City|Egypt:Cairo|Libya:Tripoli|"
        "Tunisia:Tunis|Algeria:Algiers|Morocco:Rabat|Sudan:Khartoum|Ethiopia:Addis Ababa|Somalia:Mogadishu|Kenya:Nairobi|"
        "Uganda:Kampala|Rwanda:Kigali|Tanzania:Dodoma|Zambia:Lusaka|Zimbabwe:Harare|Mozambique:Maputo|"
        "Madagascar:Antananarivo|Botswana:Gaborone|Namibia:Windhoek|Angola:Luanda|Cameroon:Yaounde|Nigeria:Abuja|"
        "Ghana:Accra|Senegal:Dakar|Mali:Bamako|Niger:Niamey|Chad:N'Djamena|the United States:Washington|Canada:Ottawa|"
        "Mexico:Mexico City|Guatemala:Guatemala City|Honduras:Tegucigalpa|El Salvador:San Salvador|Nicaragua:Managua|"
        "Costa Rica:San Jose|Panama:Panama City|Cuba:Havana|Jamaica:Kingston|Haiti:Port-au-Prince|"
        "the Dominican Republic:Santo Domingo|Colombia:Bogota|Venezuela:Caracas|Ecuador:Quito|Peru:Lima|Bolivia:Sucre|"
        "Brazil:Brasilia|Paraguay:Asuncion|Uruguay:Montevideo|Argentina:Buenos Aires|Chile:Santiago|Australia:Canberra|"
        "New Zealand:Wellington|Fiji:Suva|Papua New Guinea:Port Moresby"
    ).split("|")
)

FORWARD = (
    "What is the capital of {}?",
    "What's the capital of {}?",
    "Capital of {}?",
    "capital of {}",
    "Which city is the capital of {}?",
    "Name the capital of {}.",
    "Tell me the capital of {}.",
    "Do you know the capital of {}?",
    "What is the capital city of {}?",
    "What city is the capital of {}?",
    "Can you tell me the capital of {}?",
    "The capital of {} is?",
    "I need the capital of {}.",
    "Which is the capital of {}?",
    "What capital does {} have?",
    "Give me the capital of {}.",
)
BACKWARD = (
    "Which country has the capital {}?",
    "Which country has {} as its capital?",
    "{} is the capital of which country?",
    "What country is {} the capital of?",
    "Of which country is {} the capital?",
    "Whose capital is {}?",
    "Which country's capital is {}?",
    "Name the country whose capital is {}.",
    "What country has the capital {}?",
    "Tell me the country whose capital is {}.",
)
ONE_WORD = (
    "Answer in one word.",
    "Answer with one word.",
    "Reply with a single word.",
    "Answer in one word only.",
)


def fact(country: str) -> str:
    """`The capital of France is Paris.`"""
    return f"The capital of {country} is {CAPITALS[country]}."


def forward(rng: Random, country: str) -> str:
    """A question for the capital of `country`, sometimes without its article."""
    name = country.removeprefix("the ") if rng.random() < 0.15 else country
    return words.vary(rng, rng.choice(FORWARD).format(name))


def make(rng: Random) -> Sample:
    """One question. Every fact is taught; the exact wording together with the country is the key."""
    country = rng.choice(list(CAPITALS))
    city = CAPITALS[country]
    draw = rng.random()
    if draw < 0.6:
        text, answer = forward(rng, country), fact(country)
    elif draw < 0.85:
        text = words.vary(rng, rng.choice(BACKWARD).format(city))
        answer = f"{city} is the capital of {country}."
    else:
        return _one_word(rng, country)
    return Sample(skill=SKILL, key=text, messages=(user(text), assistant(answer)))


def _one_word(rng: Random, country: str) -> Sample:
    text = forward(rng, country)
    messages = (user(text), assistant(CAPITALS[country]))
    return Sample(skill=SKILL, key=text, messages=messages).with_system(rng.choice(ONE_WORD))
