"""What the made-up shop is made up from. Changing a word changes the sample data."""

CATEGORIES = {
    "Lighting": ("Desk Lamp", "Floor Lamp", "Lantern", "Pendant Light", "Reading Light"),
    "Kitchen": ("Bowl", "Chopping Board", "Kettle", "Ladle", "Saucepan"),
    "Tableware": ("Carafe", "Cup", "Dinner Plate", "Salad Bowl", "Serving Tray"),
    "Seating": ("Armchair", "Bench", "Dining Chair", "Rocking Chair", "Stool"),
    "Tables": ("Coffee Table", "Desk", "Dining Table", "Nightstand", "Workbench"),
    "Storage": ("Basket", "Bookshelf", "Chest", "Coat Rack", "Cupboard"),
    "Bedroom": ("Bed Frame", "Blanket", "Duvet", "Mattress", "Pillow"),
    "Bathroom": ("Bath Mat", "Mirror", "Shower Caddy", "Soap Dish", "Towel Rail"),
    "Garden": ("Bird Feeder", "Garden Fork", "Planter", "Trowel", "Watering Can"),
    "Office": ("File Box", "Letter Opener", "Notebook", "Pen Holder", "Stapler"),
    "Travel": ("Backpack", "Duffel Bag", "Luggage Tag", "Suitcase", "Toiletry Bag"),
    "Outdoors": ("Camp Stove", "Hammock", "Sleeping Bag", "Tent", "Water Bottle"),
    "Clocks": ("Alarm Clock", "Kitchen Timer", "Mantel Clock", "Wall Clock", "Wristwatch"),
    "Tools": ("Chisel", "Hammer", "Hand Plane", "Saw", "Screwdriver"),
    "Toys": ("Building Set", "Kite", "Puzzle", "Spinning Top", "Train Set"),
    "Music": ("Guitar Stand", "Metronome", "Music Box", "Recorder", "Ukulele"),
}
ADJECTIVES = (
    "Airy", "Bold", "Bright", "Calm", "Classic", "Clever", "Compact", "Crisp", "Cosy", "Elegant",
    "Fine", "Folding", "Gentle", "Grand", "Handy", "Honest", "Humble", "Light", "Little", "Lively",
    "Modern", "Neat", "Noble", "Plain", "Quiet", "Rustic", "Simple", "Sleek", "Sturdy", "Warm",
)  # fmt: skip
MATERIALS = (
    "Ash", "Bamboo", "Beech", "Brass", "Canvas", "Ceramic", "Cherry", "Copper", "Cork", "Cotton",
    "Enamel", "Felt", "Glass", "Iron", "Leather", "Linen", "Marble", "Oak", "Steel", "Walnut",
)  # fmt: skip
SUPPLIER_NAMES = (
    "Alder", "Birchwood", "Brook", "Calder", "Dunmore", "Eastgate", "Fairfield", "Glenn", "Harbour",
    "Ivory", "Juniper", "Kestrel", "Larkspur", "Meadow", "Northway", "Orchard", "Pinewood", "Quarry", "Ridge",
    "Summit",
)  # fmt: skip
SUPPLIER_KINDS = ("Works", "Workshop")
FIRST_NAMES = (
    "Ada", "Amir", "Bruno", "Clara", "Daniel", "Elena", "Fatima", "Felix", "Greta", "Hugo", "Ines", "Ivan",
    "Jonas", "Julia", "Kenji", "Lena", "Marco", "Maya", "Nadia", "Noah", "Olga", "Omar", "Petra", "Rosa",
    "Samir", "Sofia", "Theo", "Vera", "Yuki", "Zoe",
)  # fmt: skip
LAST_NAMES = (
    "Adler", "Bauer", "Castro", "Dubois", "Eriksen", "Ferrari", "Garcia", "Haas", "Ito", "Jansen",
    "Kowalski", "Larsen", "Martin", "Novak", "Okafor", "Popescu", "Rossi", "Silva", "Tanaka", "Weber",
)  # fmt: skip
CITIES = (
    ("Amsterdam", "NL"), ("Athens", "GR"), ("Berlin", "DE"), ("Bologna", "IT"), ("Copenhagen", "DK"),
    ("Dublin", "IE"), ("Ghent", "BE"), ("Helsinki", "FI"), ("Lisbon", "PT"), ("Lyon", "FR"), ("Madrid", "ES"),
    ("Oslo", "NO"), ("Prague", "CZ"), ("Vienna", "AT"), ("Warsaw", "PL"), ("Zagreb", "HR"),
)  # fmt: skip
REVIEWS = {
    1: ("It broke in the first week.", "The one I got looks nothing like the picture."),
    2: ("Too flimsy for daily use.", "It does the job, but only just."),
    3: ("Fine for the price.", "Neither good nor bad."),
    4: ("Well made, though the delivery took a while.", "A good buy."),
    5: ("I would buy it again at once.", "Beautiful, and it feels as if it will last for years."),
}
