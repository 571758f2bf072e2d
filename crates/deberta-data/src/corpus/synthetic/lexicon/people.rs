//! Names, places and trades, partly composed from stems and endings.

/// Given names, then stems to which [`FEMALE_ENDINGS`] and [`MALE_ENDINGS`] are added.
pub(super) const FEMALE_NAMES: &str = "Anna Mary Alice Emma Clara Ida Olive Edith Agnes Ursula \
    Ruth Nora Ellen Martha Irene Lucy Rosa Sarah Julia Eva Amelia Esther Hilda Vera Isabel Flora \
    Greta Laura Nina Stella Paula Wanda Zoe Bertha Dora Fanny Hannah Jane Kate Lily";
pub(super) const MALE_NAMES: &str = "Tom John Peter Oscar Henry Albert Edwin Isaac Ulric Paul \
    Simon Walter Hugo Frank Martin Adam David Jacob Luke Arthur Ernest Ivan Otto Victor Felix \
    George Robert Philip Ralph Samuel Daniel Abel Conrad Gilbert Harold James Leo Max Noah Rufus";
pub(super) const NAME_STEMS: &str = "Al Bern Cor Dal Ed Fal Gar Hal Is Jor Kel Lor Mar Nor Or Per \
    Ros Sel Tor Ul Val Wil Yor Zan Bran Cath Dun Elm Ger Hern";
pub(super) const FEMALE_ENDINGS: &str = "ina etta wen lind issa";
pub(super) const MALE_ENDINGS: &str = "ric mund bert win gar";

pub(super) const PLACE_STEMS: &str = "Ash Oak Elm Thorn Wolf Fox Raven Stone Clay Mill North West \
    East South High Long Red White Black Green King Queen Bishop Fair Cold Bright Deer Hart Swan \
    Crow Alder Birch Maple Hazel Bram Cran Dun Glen Hol Lang";
pub(super) const PLACE_ENDINGS: &str =
    "ton ford ham bury wick field bridge mouth dale wood port stead worth combe well";

/// `trade | workplace | tools | product | verb that makes it`
pub(super) const TRADES: &str = "baker|bakehouse|oven whisk sieve|roll|bake
smith|smithy|hammer anvil bellows|horseshoe|forge
tailor|fitting-room|needle scissors tape|suit|sew:sewed
carpenter|woodshop|saw plane chisel|chair|build:built
potter|pottery|wheel kiln glaze|dish:dishes|shape
weaver|weavery|loom shuttle spindle|carpet|weave:wove
cobbler|cobblery|awl last pincers|shoe|sole
mason|stoneyard|trowel level mallet|chimney|raise
gardener|greenhouse|spade rake hoe|flowerbed|dig:dug
fisher|boathouse|net rod hook|fishpot|fill
painter|studio|brush easel palette|portrait|finish
doctor|clinic|stethoscope bandage syringe|remedy|prescribe
teacher|classroom|chalk blackboard ruler|lesson|prepare
clockmaker|clockhouse|spring tweezers magnifier|watch:watches|assemble
cook|kitchen|ladle pan cauldron|stew|simmer
miller|windmill|millstone hopper sack|flourbag|grind:ground
barber|barbershop|razor shears lather|wig|curl
printer|pressroom|press ink typeface|newspaper|print
beekeeper|apiary|hive smoker beeveil|honeycomb|seal
glassblower|glassworks|blowpipe furnace tongs|windowpane|blow:blew
cooper|cooperage|hoop adze stave|cask|bind:bound
hatter|hattery|felt hatblock steamer|bowler|trim:trimmed
jeweller|jewellery|loupe file pliers|earring|mount
butcher|butchery|cleaver scale block|ham|smoke
astronomer|planetarium|telescope sextant astrolabe|horoscope|compute
apothecary|pharmacy|mortar pestle vial|ointment|mix
shipwright|shipyard|caulk derrick rivet|hull|launch
tanner|tannery|vat scraper hide|saddlebag|stitch
bookbinder|bindery|glue twine clamp|album|cover
lawyer|chambers|signet inkstand statute|contract|draft
farrier|farriery|rasp nippers nail|stirrup|fit:fitted
optician|opticary|lens prism gauge|monocle|refine
chemist|laboratory|flask burner pipette|powder|distil:distilled
engineer|workshop|wrench blueprint drill|turbine|design
upholsterer|upholstery|tack webbing stuffing|cushion|pad:padded
artist|atelier|pencil canvas charcoal|sketch:sketches|draw:drew
ropemaker|ropewalk|hemp tar winch|rope|twist
innkeeper|taproom|tankard tray corkscrew|supper|serve
undertaker|mortuary|hearse shroud bier|coffin|line
inventor|attic|gear magnet battery|gadget|invent
archer|armoury|bowstring quiver target|arrow|fletch
usher|foyer|torch programme handbell|ticket|check";

/// `female male`: how the second person is related to the first.
pub(super) const RELATIONS: &str = "sister|brother daughter|son aunt|uncle niece|nephew \
    mother|father grandmother|grandfather wife|husband godmother|godfather \
    landlady|landlord stepsister|stepbrother";
