"""The words that made-up shops are made of."""

# Name and its letters in ASCII, for the e-mail address.
FIRST_NAMES = (
    ("Ada", "ada"), ("Åsa", "asa"), ("Amélie", "amelie"), ("Björn", "bjorn"), ("Carmen", "carmen"), ("Chidi", "chidi"),
    ("Dimitra", "dimitra"), ("Émile", "emile"), ("Fatima", "fatima"), ("Grace", "grace"), ("Hiroshi", "hiroshi"),
    ("Inês", "ines"), ("Ivan", "ivan"), ("Jürgen", "jurgen"), ("Kamala", "kamala"), ("Łukasz", "lukasz"),
    ("Mei", "mei"), ("Nia", "nia"), ("Oğuz", "oguz"), ("Olena", "olena"), ("Priya", "priya"), ("Quinn", "quinn"),
    ("Rosa", "rosa"), ("Sean", "sean"), ("Søren", "soren"), ("Thị Lan", "thilan"), ("Uma", "uma"), ("Violet", "violet"),
    ("Wanjiru", "wanjiru"), ("Ximena", "ximena"), ("Youssef", "youssef"), ("Žofie", "zofie"), ("美咲", "misaki"),
)  # fmt: skip
LAST_NAMES = (
    ("Adeyemi", "adeyemi"), ("Andersson", "andersson"), ("Bianchi", "bianchi"), ("Brown", "brown"),
    ("Çelik", "celik"), ("Dubois", "dubois"), ("Eriksen", "eriksen"), ("Fernández", "fernandez"),
    ("García", "garcia"), ("Haddad", "haddad"), ("Ito", "ito"), ("Jones", "jones"),
    ("Kowalski", "kowalski"), ("Kumar", "kumar"), ("Lefèvre", "lefevre"), ("Müller", "muller"),
    ("Nguyễn", "nguyen"), ("Novák", "novak"), ("O'Brien", "obrien"), ("Okafor", "okafor"),
    ("Papadopoulos", "papadopoulos"), ("Popescu", "popescu"), ("Quispe", "quispe"),
    ("Rossi", "rossi"), ("Schröder", "schroder"), ("Silva", "silva"), ("Smith", "smith"),
    ("Tanaka", "tanaka"), ("Ueda", "ueda"), ("van den Berg", "vandenberg"), ("Wright", "wright"),
    ("Yılmaz", "yilmaz"), ("Zhang", "zhang"),  # noqa: RUF001
)  # fmt: skip

# City, state or none, country, what every postal code begins with, and how many digits follow.
PLACES = (
    ("Amsterdam", None, "Netherlands", "10", 2),
    ("Austin", "Texas", "United States", "787", 2),
    ("Berlin", None, "Germany", "10", 3),
    ("Bogotá", None, "Colombia", "11", 4),
    ("Chicago", "Illinois", "United States", "606", 2),
    ("İzmir", None, "Türkiye", "35", 3),
    ("Kraków", None, "Poland", "30-", 3),
    ("København", None, "Denmark", "1", 3),
    ("Lagos", "Lagos", "Nigeria", "10", 4),
    ("Lyon", None, "France", "6900", 1),
    ("Melbourne", "Victoria", "Australia", "30", 2),
    ("Mumbai", "Maharashtra", "India", "4000", 2),
    ("Nairobi", None, "Kenya", "00", 3),
    ("Portland", "Oregon", "United States", "972", 2),
    ("São Paulo", "São Paulo", "Brazil", "01", 3),
    ("Toulouse", None, "France", "3100", 1),
    ("Zürich", None, "Switzerland", "80", 2),
    ("東京", None, "Japan", "1", 6),
)
STREETS = (
    "Acacia Avenue", "Bahnhofstraße", "Calle Mayor", "Cherry Lane", "Church Road", "Garden Street", "Hauptstraße",
    "Kirkegata", "Lindenallee", "Main Street", "Market Square", "Mill Lane", "Old Harbour", "Park Road", "Rua Augusta",
    "Rue de l'Église", "Station Road", "Storgatan", "Via Roma", "Windmill Hill",
)  # fmt: skip

# Departments and the kinds of things in each, whose plural ends in -s. Each category below has as many branches as a
# department has kinds.
DEPARTMENTS = {
    "Kitchen": ("Kettle", "Frying Pan", "Teapot", "Coffee Mill", "Mixing Bowl", "Chopping Board", "Corkscrew"),
    "Garden": ("Watering Can", "Spade", "Plant Pot", "Garden Hose", "Bird Feeder", "Trowel", "Lantern"),
    "Office": ("Notebook", "Desk Lamp", "Fountain Pen", "Paper Tray", "Stapler", "Desk Chair", "Bookend"),
    "Outdoors": ("Tent", "Backpack", "Sleeping Bag", "Camping Stove", "Water Bottle", "Headlamp", "Hammock"),
    "Clothing": ("Jacket", "Raincoat", "Pullover", "Hat", "Glove", "Shirt", "Belt"),
    "Living Room": ("Cushion", "Floor Lamp", "Side Table", "Rug", "Picture Frame", "Vase", "Bookcase"),
    "Toys": ("Puzzle", "Kite", "Spinning Top", "Toy Train", "Doll", "Building Set", "Board Game"),
    "Music": ("Guitar", "Ukulele", "Drum", "Flute", "Music Stand", "Metronome", "Harmonica"),
}
QUALIFIERS = (
    ("Classic", "Compact", "Folding", "Handmade", "Large", "Light", "Travel"),
    ("Black", "Blue", "Green", "Grey", "Natural", "Red", "White"),
    ("Everyday", "Gift", "Limited", "Outlet", "Premium", "Recycled", "Vintage"),
)
BRANDS = (
    "Åkerlund", "Blåfjell", "Casa Nueve", "Dvořák & Sons", "Elm & Ash", "Fjord", "Grüntal", "Harbour", "Iris", "Júbilo",
    "Kōyō", "Lumière", "Moss", "Norden", "Ostara", "Piñón", "Quill", "Rowan", "Škoda Brothers", "Tamarind", "Umi",
    "Verano", "Willow", "Zest", "北斗",
)  # fmt: skip
VIRTUES = (
    "Made to last.", "Easy to clean.", "Ships in recycled cardboard.", "Repairs are free for two years.",
    "Small enough for any cupboard.", "A favourite of our customers.", "Designed in our own workshop.",
    "Comes with a spare part.", "Tested by hand, one by one.",
)  # fmt: skip

METHODS = (("card", "stripe"), ("card", "adyen"), ("paypal", "paypal"), ("bank_transfer", "adyen"), ("invoice", None))
DECLINES = ("card declined", "insufficient funds", "card expired", "3-D Secure failed", "issuer did not answer")
RETURNS = ("damaged on arrival", "changed my mind", "wrong size", "arrived late", "not as described", None)
