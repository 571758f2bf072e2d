//! The word lists. A noun with an irregular plural is written `singular:plural`.

pub(super) const FOOD: &str = "apple onion egg orange pear plum cake pie loaf:loaves sausage \
    carrot potato:potatoes tomato:tomatoes cherry peach radish:radishes turnip cabbage biscuit \
    pancake dumpling almond olive apricot artichoke oyster omelette walnut melon fig muffin bun \
    tart waffle pickle leek parsnip chestnut mushroom lemon grape pumpkin sandwich:sandwiches \
    herring nut raisin cracker pastry pretzel pudding quince truffle";
pub(super) const DRINK: &str = "tea milk cider ale wine lemonade water juice broth coffee mead \
    cocoa brandy soup syrup";
pub(super) const CLOTHES: &str = "coat hat scarf:scarves cloak shirt apron overcoat glove boot \
    jacket shawl robe sock vest belt bonnet cape sandal slipper mitten gown tunic waistcoat veil \
    uniform collar sweater stocking kerchief hood sash:sashes blouse";
pub(super) const WRITING: &str = "letter book poem map diary essay article note ballad almanac \
    atlas:atlases journal novel riddle sermon scroll epistle legend chronicle invitation list \
    recipe report verse pamphlet";
pub(super) const ANIMAL: &str = "horse donkey goat ox:oxen dog cat hen goose:geese cow pig owl \
    eagle otter hare fox:foxes mule pony duck rabbit ewe lamb hound kitten mare raven swan badger \
    squirrel parrot pigeon turtle hedgehog elephant monkey ape puppy calf:calves";
pub(super) const PLANT: &str = "oak elm ash:ashes rose tulip lily ivy:ivies orchid acorn willow \
    aster daisy iris:irises pine birch:birches fern violet poppy hazel nettle thistle larch:larches \
    clover marigold vine bush:bushes hedge";
pub(super) const INSTRUMENT: &str = "flute violin drum harp organ oboe lute trumpet accordion \
    horn fiddle guitar piano cello whistle banjo clarinet bugle zither tambourine";
pub(super) const VEHICLE: &str = "cart wagon boat barge sledge carriage ferry canoe raft coach:\
    coaches bicycle omnibus:omnibuses engine airship ship tram van lorry";
pub(super) const TREASURE: &str = "ring key coin lamp clock mirror box:boxes umbrella urn amulet \
    necklace bracelet candle lantern purse medal jewel pearl emerald amethyst opal compass:\
    compasses vase statue painting basket ornament icon inkwell hourglass:hourglasses heirloom \
    crown goblet dagger locket brooch:brooches spoon knife:knives plate bottle kite doll puzzle \
    marble button thimble comb fan sword shield pipe kettle pot jug bowl";
pub(super) const BUILDING: &str = "store mall bakery inn mill school library chapel station \
    theatre market museum hospital bank tower palace office orphanage arcade academy garage hotel \
    stable tavern hall forge dairy brewery observatory laundry bookshop prison courthouse \
    gallery warehouse nursery factory";
pub(super) const NATURE: &str = "river hill forest lake field meadow valley island orchard harbour \
    marsh:marshes cave garden well road path wall gate cliff pond beach:beaches bridge stream moor \
    quarry heath";
pub(super) const FURNITURE: &str = "table shelf:shelves chest bench:benches cupboard drawer \
    armchair barrel crate stool ladder bed desk wardrobe sofa trunk";
pub(super) const GROUPS: &str = "sailor farmer miner pupil soldier pilgrim traveller monk \
    nun guest neighbour stranger child:children twin cousin student hunter shepherd beggar merchant \
    dancer singer orphan";

/// Adjectives that say something about any thing.
pub(super) const THING_ADJECTIVES: &str = "old new small large heavy light broken clean dirty \
    strange beautiful ugly empty expensive cheap ordinary unusual odd enormous tiny elegant useful \
    useless precious worthless plain antique unique amazing dull shiny rusty dusty round square \
    narrow wide fragile sturdy handsome curious lovely famous ancient modern foreign hidden painted";
pub(super) const COLOURS: &str = "red blue green yellow white black brown grey amber ivory orange \
    purple pink scarlet azure golden silver crimson indigo turquoise";
pub(super) const FOOD_ADJECTIVES: &str = "fresh salty sweet sour ripe rotten stale spicy tasty \
    bitter juicy raw baked boiled edible unripe delicious crisp honeyed buttered";
pub(super) const CLOTHES_ADJECTIVES: &str = "woollen silken linen leather torn patched knitted \
    embroidered ragged warm tight loose striped velvet padded quilted";
pub(super) const ANIMAL_ADJECTIVES: &str = "tame wild hungry sleepy playful gentle stubborn swift \
    lame timid obedient untamed furry spotted restless";
pub(super) const WRITING_ADJECTIVES: &str = "long short unfinished famous boring secret illegible \
    handwritten printed sad funny anonymous illustrated learned";
pub(super) const PERSON_ADJECTIVES: &str = "kind clever honest brave lazy idle angry eager young \
    happy unhappy patient impatient wise foolish shy proud humble poor rich generous greedy quiet \
    noisy cheerful gloomy careful careless polite rude loyal ambitious forgetful earnest \
    experienced inventive thoughtful thoughtless hopeful fearful fearless graceful restless tireless \
    lonely friendly unfriendly tall old";
pub(super) const ADVERBS: &str = "slowly quickly eagerly gladly sadly proudly quietly noisily \
    carefully carelessly happily patiently politely bravely lazily cheerfully gently secretly often \
    always never soon again suddenly finally calmly angrily humbly kindly cleverly wisely anxiously \
    thoughtfully hastily";

/// `season | nouns | adjectives | what it does: verb base forms`
pub(super) const SEASONS: [&str; 4] = [
    "winter | snow frost ice sleet blizzard icicle | cold icy frozen freezing wintry bleak | \
     drift glitter",
    "spring | blossom rain bud rainbow shower nest | mild rainy fragrant showery blooming mellow | \
     appear return",
    "summer | heat sun dust drought sunshine thunder | hot dry sunny scorching dazzling sultry | \
     blaze linger",
    "autumn | fog wind mist storm harvest gale | foggy windy misty stormy damp leafless | \
     thicken whirl",
];

/// `class | verbs`; irregular verbs are written `base:past`. The lists do not overlap, so that a
/// verb tells the class of its object.
pub(super) const VERBS: [&str; 10] = [
    "eat:ate taste slice cook peel chew swallow fry roast",
    "drink:drank sip:sipped pour spill stir:stirred brew",
    "wear:wore mend wash fold sew:sewed iron darn patch",
    "read:read write:wrote copy sign study recite translate publish",
    "feed:fed chase tame groom stroke saddle rescue herd",
    "plant water trim:trimmed prune uproot gather pick",
    "play tune practise strum:strummed rehearse",
    "drive:drove push pull load repair steer park",
    "polish admire wrap:wrapped weigh inspect value engrave",
    "visit paint sweep:swept enter leave:left decorate guard",
];

/// Verbs without an object: base forms, irregular pasts marked.
pub(super) const INTRANSITIVE: &str = "sleep:slept sing:sang laugh smile wait rest work talk \
    listen dream sit:sat stand:stood dance whistle nod:nodded weep:wept shiver yawn pray hum:hummed";
/// Verbs of going somewhere.
pub(super) const MOTION: &str = "walk travel:travelled run:ran hurry ride:rode wander march sail go:went \
    return climb crawl stroll";
/// Verbs that hand something over.
pub(super) const GIVING: &str = "give:gave sell:sold hand lend:lent offer send:sent bring:brought";
/// Verbs that obtain something.
pub(super) const GETTING: &str = "find:found buy:bought discover inherit win:won borrow catch:caught \
    receive notice";
