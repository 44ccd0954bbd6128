"""Every protocol number: its unit, its source and how it relates to the others.

"Our guess" is an honest source; silence is not. Nothing here may import anything of ours. What two nodes must agree on
and what a group may choose for itself stands in `parameters.py` instead.
"""

from typing import Final

# --- names and texts --------------------------------------------------------------------------------------------------

NAME_CHARACTERS_MIN: Final = 3
NAME_CHARACTERS_MAX: Final = 24
"""User names, `a-z 0-9 _ -` after folding (design.md, "Identity and login")."""
ROOM_NAME_CHARACTERS_MAX: Final = 31
"""Characters after the `#`."""
RESERVED_NAMES: Final = frozenset({"root", "admin", "system", "bootstrap", "dhtchat", "help"})
TEXT_CHARACTERS_MAX: Final = 2_000
TEXT_BYTES_MAX: Final = 8_000
"""One line of talk; longer ones are refused as `too-long` with nothing lost."""
assert TEXT_BYTES_MAX <= 4 * TEXT_CHARACTERS_MAX
TOPIC_CHARACTERS_MAX: Final = 200
TOPIC_BYTES_MAX: Final = 400
"""A topic travels in a directory listing, which must stay below RECORD_BYTES_MAX."""
AWAY_CHARACTERS_MAX: Final = 60
AWAY_BYTES_MAX: Final = 120
"""Travels in the presence record. Our guess."""
EMOJI_CHARACTERS_MAX: Final = 16
EMOJI_BYTES_MAX: Final = 64
"""One reaction: a family of four with skin tones has 11 code points. Our guess."""
COMBINING_MARKS_MAX: Final = 4
"""Combining marks kept on one base character (contract.md, cleaning)."""

# --- passwords and accounts -------------------------------------------------------------------------------------------

PASSWORD_CHARACTERS_MIN: Final = 10
PASSWORD_CHARACTERS_MAX: Final = 1_000
PASSWORD_TRIES: Final = 3
"""At a terminal, as ssh has it."""
TERMINAL_LINE_BYTES_MAX: Final = 4_095
"""What a terminal in its line mode hands over of a longer line (N_TTY_BUF_SIZE on Linux; macOS has 1,024): cut already."""
PASSWORD_SCORE_MAX: Final = 4
"""Of zxcvbn."""
PASSWORD_SCORE_MIN: Final = 3
"""zxcvbn score: 3 is "safely unguessable: moderate protection from an offline attack"."""
KDF_MEMORY_KIB_MAX: Final = 1_048_576
KDF_PASSES_MAX: Final = 16
KDF_LANES_MAX: Final = 16
"""Argon2id parameters read from somebody's record are refused above these: a login must not be a memory bomb."""
SALT_BYTES: Final = 16
"""RFC 9106 §3.1 recommends 16 bytes."""
CLAIMS_PER_NAME_MAX: Final = 4
"""Rival claims a replica keeps for one name, in order of arrival (design.md, "Who owns a name")."""
DEVICES_PER_OWNER_MAX: Final = 8

# --- records ----------------------------------------------------------------------------------------------------------

UDP_PAYLOAD_BYTES_MAX: Final = 1_232
"""Largest datagram we send: 1280 (IPv6 minimum MTU, RFC 8200 §5) - 40 (IPv6) - 8 (UDP)."""
RECORD_BYTES_MAX: Final = 1_000
"""Largest signed record, as BEP 44 has it."""
BOOT_ID_BYTES: Final = 8
SEALED_HEADER_BYTES: Final = 69
"""Of a sealed datagram: version and kind 1, key 32, boot id 8, counter 12, tag 16 (design.md)."""
STORE_OVERHEAD_BYTES: Final = 57 + SEALED_HEADER_BYTES
"""What a store request and the seal put around a record; pinned by tests/dht/test_sizes.py."""
assert RECORD_BYTES_MAX + STORE_OVERHEAD_BYTES <= UDP_PAYLOAD_BYTES_MAX
CLOCK_SKEW_S: Final = 600
"""How wrong another clock may be: soft records die at issued + ttl + this at the latest."""
PRESENCE_TTL_S: Final = 120
PRESENCE_REFRESH_S: Final = 40
"""Our guess, not the paper's: two refreshes may be lost before a peer disappears."""
assert PRESENCE_TTL_S >= 3 * PRESENCE_REFRESH_S
SOFT_TTL_S_MAX: Final = 14 * 24 * 3600
"""Longest life a soft record may ask for (mail lives 14 days)."""
ADDRESSES_PER_DEVICE_MAX: Final = 4
HOST_CHARACTERS_MAX: Final = 45
"""The longest textual IPv6 address (an IPv4-mapped one, INET6_ADDRSTRLEN - 1)."""
HOST_NAME_CHARACTERS_MAX: Final = 253
"""The longest host name: 255 bytes on the wire (RFC 1035 §2.3.4) with a length byte in front and a root behind."""

# --- the DHT ----------------------------------------------------------------------------------------------------------

NODE_ID_BYTES: Final = 20
"""160-bit ids, Kademlia paper (2002) §2."""
SOFT_REPLICAS: Final = 8
"""Nodes that hold a soft record (design.md, "Records"); durable ones are on all k nearest."""
RPC_TIMEOUT_S: Final = 0.7
RPC_TIMEOUT_MIN_S: Final = 0.1
RPC_TIMEOUT_ROUND_TRIPS: Final = 4
RPC_TRIES: Final = 4
"""The first try waits four smoothed round trips, within these bounds, each later one twice as long: a silent contact is
given up after 1.4 s on a fast network and 2.8 s on a slow one. With 5 % loss each way one of 10,000 living ones is given up
too (with three tries it was one of 1,000: as often as a lookup may fail). A busy machine may keep a node from answering for
a quarter of a second. Our guess."""
ENDPOINTS_CACHED: Final = 16_384
"""Addresses whose packed form is remembered: to parse them was a quarter of the time of a lookup. About 3 MiB."""
FIND_REPLY_CONTACTS_MAX: Final = 20
"""20 IPv4 contacts fit a reply (design.md, "Sizes")."""
PAGE_BYTES_MAX: Final = 1_064
"""Records in one answer, encoded: UDP_PAYLOAD_BYTES_MAX less frame, sealing and cursor (tests/dht/test_sizes.py)."""
assert RECORD_BYTES_MAX + 16 <= PAGE_BYTES_MAX < UDP_PAYLOAD_BYTES_MAX - SEALED_HEADER_BYTES
GIST_BYTES: Final = 16
"""What replicas compare sets by: nobody finds two sets with one gist in 2^64 tries."""
SET_PAGES_MAX: Final = 512
"""Pages one reader asks one replica for: more than SET_ENTRIES_MAX entries of the smallest kind can need."""
SET_ENTRIES_MAX: Final = 2_048
"""Entries of one set on one replica."""
TREE_DEPTH_MAX: Final = 32
"""Digits, of four bits, of an item in a tree of sets: as deep as a tree can be. Any depth is found in six questions."""
assert TREE_DEPTH_MAX <= 2 ** (6 - 1)
TREE_NAME_DIGITS: Final = 24
"""Of these, how many come from a name: 96 bits, 18 characters. The rest tells apart what has the same name."""
LEAF_ENTRIES_MAX: Final = 128
"""Entries of one leaf of a tree, before it splits for good (docs/decisions/0011-prefix-trees.md)."""
SPOKESMEN_PER_SIDE: Final = 2
"""The first and the last so many entries of a node stand for it at the node above: one may die without being missed."""
INNER_ENTRIES_MAX: Final = LEAF_ENTRIES_MAX + 16 * 2 * SPOKESMEN_PER_SIDE
"""Entries of a node that has split: what it held before, for one more ttl, and spokesmen of 16 children."""
assert LEAF_ENTRIES_MAX <= INNER_ENTRIES_MAX <= SET_ENTRIES_MAX
SPLIT_KEPT_S: Final = 600.0
"""A node that has split, and below which nobody was for this long, is forgotten: five ttls. Our guess."""
assert SPLIT_KEPT_S >= 5 * PRESENCE_TTL_S
SPLITS_MAX: Final = 4_096
"""Nodes of trees that one node of the network holds and knows to have split."""
BELOW_MAX: Final = 16 * 2
"""Leaves that a split node names: the first and the last below each of its 16 children."""
TREE_WITNESSES: Final = 2
"""Replicas that must name a living child of a node before a reader goes there. Our guess: one liar may be among eight."""
assert TREE_WITNESSES < SOFT_REPLICAS / 2
TREE_CHECKS_OPEN_MAX: Final = 64
"""Nodes of trees that a replica looks into at once because it did not know them."""
TREE_CHECK_AGAIN_S: Final = 30.0
"""A node that does not belong into the tree, and doubt whether one has split, are looked into this often. Our guess."""
TREE_CHECKS_REMEMBERED_MAX: Final = 4_096
TREE_KNOWN_S: Final = 30.0
"""How long a reader goes by what split nodes said is below them. Our guess: less than a refresh."""
TREE_KNOWN_MAX: Final = 1_024
TREES_KNOWN_MAX: Final = 32
"""Split nodes of one tree, and trees, of which a reader remembers that."""
JUMP_LOOKUPS_MAX: Final = 6
"""Up to so many lookups of a jump the node above the leaf is read as well, for who is left over there after a split."""
PAGE_LOOKUPS_MAX: Final = 3
"""What a reader does for the next page, reading ahead included."""
PLACINGS_MAX: Final = TREE_DEPTH_MAX + 8
"""Depths at which a writer stores in search of its leaf, before it waits a moment and tries again."""
STORAGE_ENTRIES_MAX: Final = 50_000
STORAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Everything one node stores for others. Our guess: 1 % of a small machine's memory."""
STORAGE_NETWORK_ENTRIES_MAX: Final = STORAGE_ENTRIES_MAX // 16
STORAGE_NETWORK_BYTES_MAX: Final = STORAGE_BYTES_MAX // 16
"""What one network of addresses (NETWORK_BITS_IPV4) may have brought to a node at a time: whoever wants to fill one needs
addresses in sixteen. Our guess; 200 people behind one address, who are all there is and of whom each has ten records, come
to 2,000 entries a node."""
UPKEEP_INTERVAL_S: Final = 180
"""A replica looks after each durable record about this often, with jitter: "every few minutes" (design.md)."""
SETTLE_DELAY_S: Final = 2.0
"""A replica that holds rival claims looks again after this long, so that a race ends the same everywhere."""
UPKEEP_LOOKS_PER_INTERVAL: Final = 4
"""Holders of a record that look after it within one such interval: each of 20 doing so would cost five times as much and
find nothing that the others have not repaired. Our guess."""
CONTACTS_REMEMBERED_MAX: Final = 200
CONTACTS_SAVE_DELAY_S: Final = 0.5
"""Good peers are on disk within a second of being learnt."""
assert CONTACTS_SAVE_DELAY_S < 1.0
CONTACTS_FEW: Final = 50
CONTACTS_SAVE_AGAIN_S: Final = 10.0
"""While fewer than so many are on disk. Later who is new can wait: in a growing network the file changed every second. Our
guess."""
TABLE_REFRESH_S: Final = 600
"""Stale buckets are refreshed this often (the paper, §2.3, says an hour; sessions here last minutes)."""
BOOTSTRAP_TRIES: Final = 5
"""Tries of the first hello to an address that a user named: on a bad line nothing else can be tried instead."""
NEIGHBOURS_ASKED: Final = 4
"""Of the nodes nearest to us, how many are asked whether they know somebody near us whom we do not, before a whole search for
our own id. Whoever comes near us tells all of them, so one would do if none were lost or lied. Our guess."""
SELF_LOOKUP_FIRST_S: Final = 1.0
"""From joining to the second search for our own id; the pause grows threefold each time up to TABLE_REFRESH_S. Our guess."""
JOIN_SEARCHES_MAX: Final = 3
"""Buckets a newcomer looks into once, the nearest first: searches end in the wrong place where few live and none of them
knows the few beside them. The paper has it look into all, which made joining 500 nodes cost three times as much."""
BOOTSTRAP_ADDRESSES_MAX: Final = 16
LAN_SEARCH_S: Final = 1.5
"""How long somebody without an address waits for announcements in the local network: multicast DNS asks at once and again
after a second (RFC 6762 §5.2), and answers within 120 ms (§6)."""
LAN_GATHER_S: Final = 0.3
"""How much longer once one has been heard: others may be nearer. Our guess."""
LAN_NODES_MAX: Final = 8
LAN_ADDRESSES_PER_NODE: Final = 4
"""Of what is announced, so much is tried: a machine with containers has an address in each of their networks. Our guess."""
assert LAN_NODES_MAX <= BOOTSTRAP_ADDRESSES_MAX
BOOTSTRAP_PORT: Final = 8_468
"""Where a bootstrap node listens unless told otherwise (contract.md)."""
REQUESTS_OPEN_MAX: Final = 4_096
"""Requests of ours waiting for an answer."""
DATAGRAM_ID_BYTES: Final = 8
"""Names a request and its answer. They are sealed, so it need not be hard to guess, only different."""
NETWORK_TAG_BYTES: Final = 4
"""Head of the network id in a hello: enough to tell strangers from friends; every seal is made with all of it."""
TOKEN_BYTES: Final = 8
TOKEN_LIFE_S: Final = 300
"""What shows that somebody receives what is sent to an address (BEP 5 has the idea and "five minutes"); accepted for up to
twice that."""
AMPLIFICATION_MAX: Final = 3
"""Bytes of an answer for each byte of a question from an address that has shown no token (RFC 9000 §8.1 has the same)."""
PADDED_QUESTION_BYTES: Final = 411
assert AMPLIFICATION_MAX * PADDED_QUESTION_BYTES >= UDP_PAYLOAD_BYTES_MAX
"""Datagram of a question without a token: long enough for any answer."""
PING_BYTES: Final = 24 + SEALED_HEADER_BYTES
"""Datagram of a ping, pinned by tests/dht/test_sizes.py: what it takes to find out whether somebody is at an address."""
HELLO_BYTES: Final = 128
"""Datagram of a hello, padded: its answer is not three times as long (tests/dht/test_sizes.py)."""
REPLAY_WINDOW: Final = 64
"""Counters below the highest one seen that are remembered one by one (RFC 4303 §3.4.3)."""
CIPHERS_CACHED: Final = 2_048
"""Ciphers of a process kept ready, of 2.3 KiB each: 5 MiB."""
BOOTS_REMEMBERED: Final = 2
"""Process starts of one sender whose counters are remembered: a restart overtakes its last datagrams. Our guess."""
AGREEMENTS_MAX: Final = 4_096
"""X25519 results kept, for nodes we have asked and again for those that have only asked us. About 2 MiB each."""
STRANGERS_BURST: Final = 1_000
STRANGERS_PER_S: Final = 500.0
"""New agreements made because somebody unknown speaks to us: half a second of work at once, then 2 % of a core."""
NODE_KEYS_CACHED: Final = 16_384
"""Node keys whose id and puzzle are not worked out again. About 3 MiB."""
ENTRY_ID_BYTES_MAX: Final = 64
"""The longest name of an entry within its set: owner's key and device or room."""
LISTINGS_PER_OWNER_MAX: Final = 64
"""Rooms one person keeps listed. Our guess."""
SEQUENCES_REMEMBERED_MAX: Final = 2 * STORAGE_ENTRIES_MAX
"""Sequence numbers of soft records kept after the record itself, so that an old copy cannot come back."""
STORAGE_SWEEP_S: Final = 30
"""How often what has died is looked for and removed; it is not served in the meantime."""
RECORDS_OPENED_CACHED_MAX: Final = 4_096
"""Verified records remembered by their bytes: a read hears the same one from every replica. About 6 MiB."""
PLACES_CACHED: Final = 4_096
"""Places, claim ids and proofs of work of records that are not worked out again each time one is judged."""
NETWORK_BITS_IPV4: Final = 24
NETWORK_BITS_IPV6: Final = 48
"""What we take for one network: the longest prefixes that are routed on the Internet as a rule."""
NETWORK_NODES_PER_BUCKET: Final = 2
NETWORK_NODES_PER_TABLE: Final = 10
NETWORK_NODES_PER_REPLICA_SET: Final = 2
"""Nodes of one network in a bucket, in a table, and among the nearest to a key (design.md, "Tables"; ten is our guess)."""
LOOKUP_ASKS_MAX: Final = 160
"""Contacts one lookup asks at most: an honest one of 10,000 nodes needs about 40 (k = 20); a liar names ever nearer ones."""
LOOKUP_PATH_ASKS_MAX: Final = 60
"""The same of each of several paths: a healthy one of four asks about 12."""
LOOKUP_MISLED_MAX: Final = 3
"""Silent contacts, less those that answered, that one answer may have named before the rest of it is not asked. Our guess."""
LOOKUP_STARTS_PER_PATH: Final = 5
LOOKUP_PATHS: Final = 4
LOOKUP_PATHS_UNDER_ATTACK: Final = 8
"""Disjoint paths of a search that must not be fooled, and of its second try (S/Kademlia, 2007, §5: 4 to 8)."""
LOOKUP_SPARE_ASKS: Final = 1
"""Of a search that ends with a majority: how many more it asks at a time than it lacks, so that one who is silent need not be
replaced before it ends. Our guess."""
LOOKUP_AGREEMENT_MIN: Final = 0.75
"""Fewer of the paths than this know most of what was found: somebody lies. Our guess."""
ROUND_TRIP_GAIN: Final = 0.125
ROUND_TRIP_DEVIATION_GAIN: Final = 0.25
"""Weights of a new measurement in the smoothed round trip and in its mean deviation (RFC 6298 §2.3)."""
SLOW_DEVIATIONS: Final = 2
LOOKUP_SLOW_MIN_S: Final = 0.02
"""A slot of a search is lent to the next candidate after the smoothed round trip and two mean deviations, which 19 of 20
answers do not take (measured: docs/decisions/0012-paths-diversity-hedging.md), and not before this."""
ADDRESSES_PER_CONTACT_MAX: Final = 4
"""Addresses a table remembers somebody at, for each contact it has room for; above it those of the gone are dropped."""
CONTACT_FRESH_S: Final = 60.0
"""A contact heard this recently is taken to live: nobody is pinged to see whether it can make way. Our guess."""
ADMISSIONS_OPEN_MAX: Final = 32
ADMISSIONS_BURST: Final = 100
ADMISSIONS_PER_S: Final = 50.0
"""Pings to nodes that spoke to us and may enter the table: whoever forges senders makes us send no more than this."""
REQUESTS_SERVED_MAX: Final = 1_024
"""Store requests waiting for an adoption to end; more are answered `busy`."""
NETWORK_REQUESTS_BURST: Final = 5_000
NETWORK_REQUESTS_PER_S: Final = 500.0
"""Requests of one network of addresses (NETWORK_BITS_IPV4) that we serve; more are answered `busy`. At 0.1 ms each a tenth of
a core. Our guess: three times what 200 people cause who come within ten seconds and are all there is."""
NETWORK_BUDGETS_MAX: Final = 4_096
"""Networks whose requests are counted; who was silent for longest is forgotten. About 1 MiB."""
ADOPTION_ASKS: Final = 4
"""Others, drawn from the k nearest, that a replica asks before its first vote on a name. When half of them have lost the
claim, one in 16 of such replicas misses it: that eleven of twenty do happens once in 10^9 times. All 19 were a quarter of a
network's requests."""
ADOPTIONS_OPEN_MAX: Final = 128
"""Keys for which a replica asks the others at once before it gives its vote."""
SILENCE_STRIKES: Final = 2
SILENCE_TRIES: Final = 3
SILENCE_MEMORY_S: Final = 30.0
SILENCE_CONTACTS_MAX: Final = 1_024
"""A contact that failed is asked once more with fewer tries; after that many failures lookups leave it out this long,
unless it answers. Our guess."""
PROBE_CONTACTS: Final = 3
"""Contacts one probe pings that follows one without an answer; otherwise one is enough. Every PROBE_INTERVAL_S: while nothing
else is asked, a table of 60 has been round in three minutes."""
REJOIN_ADDRESSES: Final = 8
"""Remembered addresses one probe tries when no contact is left."""
REPAIR_GRACE_S: Final = 5
"""An entry that was said less long ago is not given to a replica that lacks it: where many come at once, every reader would
overtake its author. Our guess."""
REPAIRS_OPEN_MAX: Final = 64
"""Background stores (repair) in flight at once."""
REPAIRS_PER_READ_MAX: Final = 64
"""Entries a reader gives back to replicas that lack them, per read."""
REPAIRS_REMEMBERED_MAX: Final = 4_096
"""Repairs not tried again: the replica had its reasons."""
HANDOFF_DELAY_S: Final = 1.0
"""From learning a node to handing records to it: by then both know more of the network. Our guess."""
NEWCOMER_S: Final = 10.0
"""A node that has been known for less is not expected to hold anything yet. Our guess."""
HANDOFF_CONTACTS_MAX: Final = 256
HANDOFF_STORES_OPEN_MAX: Final = 8
"""Nodes waiting for their share, and stores to one of them in flight: its own socket buffer is the bound on the rate."""
KEYS_PER_SLICE: Final = 64
"""Keys looked at before the loop may do something else."""
UPKEEP_OPEN_MAX: Final = 4
"""Durable records looked after at the same time."""
UPKEEP_RESTART_S: Final = 10.0
"""After a restart what is on disk is looked after within this time, or within a second per UPKEEP_RESTART_PER_S of it."""
UPKEEP_RESTART_PER_S: Final = 20
CLAIM_READS_MAX: Final = 8
CLAIM_PAUSE_S: Final = 0.8
CLAIM_WAIT_S_MAX: Final = 1.0
"""A racer reads again after two round trips, then this often with this pause: longer than the replicas need to settle."""
assert CLAIM_READS_MAX * CLAIM_PAUSE_S > 2.5 * SETTLE_DELAY_S
CLAIM_TRIES: Final = 5
"""Tries of a store that may have to wait for an adoption on the other side, which takes up to RPC_TIMEOUT_S."""
ANNOUNCE_RETRY_S: Final = 2.0
"""A refresh that reached nobody is tried again after this long."""
ANNOUNCE_DIRECT_MAX: Final = 1
"""Refreshes of a soft record that go to those who held it last time, before the next search for who is nearest now. Who
has come nearer meanwhile was handed it by them, and what they were handed must not die before that search."""
assert 1.25 * (1 + ANNOUNCE_DIRECT_MAX) * PRESENCE_REFRESH_S < PRESENCE_TTL_S  # 1.25: `Runtime.jitter`
SEQUENCE_LEAD_S_MAX: Final = SOFT_TTL_S_MAX
"""How far ahead of our clock a replica may say that our own sequence number is."""

# --- links ------------------------------------------------------------------------------------------------------------

FRAME_BYTES_MAX: Final = 64 * 1024
"""Largest frame between peers, checked before anything is allocated."""
LINK_VERSION: Final = 1
"""Of what a hello says; another one is refused. Changes together with the ALPN name."""
NONCE_BYTES: Final = 32
HANDSHAKE_TIMEOUT_S: Final = 10
"""From accept to `welcome`."""
DIAL_TIMEOUT_S: Final = 5
DIAL_STAGGER_S: Final = 0.25
"""Between the starts of dials to several addresses of one device: "Connection Attempt Delay", RFC 8305 §8."""
HALF_OPEN_MAX: Final = 64
HALF_OPEN_PER_HOST_MAX: Final = 16
"""Connections that have not proved an identity: the oldest goes first."""
LINKS_MAX: Final = 256
KEEPALIVE_INTERVAL_S: Final = 7
KEEPALIVE_TIMEOUT_S: Final = 20
"""A link that stays silent this long is down. Two pings may be lost; a network away for 30 s is noticed."""
assert KEEPALIVE_TIMEOUT_S > 2 * KEEPALIVE_INTERVAL_S * (1 + 1 / 6)  # half a tick later, see KEEPALIVE_TICKS
KEEPALIVE_TICKS: Final = 3
"""An interval has so many ticks, the same for all links of a device, and a ping goes out at the one nearest to its time: many
links of one peer wake it up together. Our guess."""
LINK_RACE_S: Final = 12
"""Two links of one pair this close together come from both sides dialling at once; later ones replace the old."""
assert LINK_RACE_S > HANDSHAKE_TIMEOUT_S
LINK_IDLE_S: Final = 300
"""A link that nobody wants any more and over which nothing has been said for this long is closed. Our guess: who answers a
private line does so within minutes."""
assert LINK_IDLE_S > KEEPALIVE_TIMEOUT_S
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
"""Exponential backoff with full jitter between dials of one device."""
LINK_QUEUE_BYTES_MAX: Final = 512 * 1024
"""Bytes waiting for one slow reader before the sender waits, and before the link is dropped if that lasts."""
assert LINK_QUEUE_BYTES_MAX >= 2 * FRAME_BYTES_MAX
LINK_STALL_TIMEOUT_S: Final = 30
INBOX_FRAMES_MAX: Final = 256
INBOX_BYTES_MAX: Final = 512 * 1024
"""Frames, and bytes of them, of one link read but not yet handled; reading stops at either. Bytes because 256 frames of
the largest size are 16 MiB."""
TLS_RECORD_BYTES: Final = 16 * 1024
"""The largest record, RFC 8446 §5.1. We read and write in pieces of it, because what passes through a TLS connection at
once stays its memory; asyncio's own choice for reading is 256 KiB (facts.md)."""

# --- mail -------------------------------------------------------------------------------------------------------------

MAIL_LIFE_S: Final = SOFT_TTL_S_MAX
"""From saying a line to giving up on it."""
MAIL_ITEM_ID_BYTES: Final = 16
MAIL_LABEL_BYTES: Final = 16
MAIL_PLAIN_BYTES: Final = 755
"""What is sealed in one part: with seal, signature and envelope exactly RECORD_BYTES_MAX (tests/records/test_sizes.py). All
parts have it, so a part does not tell how long a line is."""
MAIL_PARTS_MAX: Final = 12
"""Parts of the longest letter; pinned by tests/records/test_mail.py."""
MAIL_WELCOME_MAX: Final = 64
"""Contacts that a device can name to its replicas: as many as fit a record beside what else is in it. The latest ones."""
MAIL_RECEIPT_ITEMS_MAX: Final = 45
"""Items one receipt can name: as many as fit."""
MAIL_RECEIPT_SLOTS: Final = 24
"""Receipts of one device."""
MAIL_ITEMS_PER_SENDER_MAX: Final = 64
MAIL_ITEMS_PER_BOX_MAX: Final = 1_024
"""Items of one sender, and all in one mailbox (design.md, "Private")."""
MAIL_FROM_STRANGERS_MAX: Final = 512
"""Of these, how many may be from senders that the owner has not named. Our guess: half."""
assert MAIL_ITEMS_PER_SENDER_MAX < MAIL_FROM_STRANGERS_MAX < MAIL_ITEMS_PER_BOX_MAX
assert MAIL_RECEIPT_SLOTS * MAIL_RECEIPT_ITEMS_MAX >= MAIL_ITEMS_PER_BOX_MAX
MAIL_SAFE_ITEMS: Final = 16
"""Items of one sender that nobody pushes out but, of a stranger, somebody who is welcome. Our guess: a greeting and some
lines. The heaviest sender loses first (design.md), but whoever makes a thousand names is never the heaviest."""
MAIL_STORED_ENTRIES_MAX: Final = STORAGE_ENTRIES_MAX // 2
MAIL_STORED_BYTES_MAX: Final = STORAGE_BYTES_MAX // 2
"""All mailboxes on one node: half of what it stores, because mail stays for days and presence must always find room."""
MAIL_WORK_DISCOUNT_BITS: Final = 5
"""An item costs a 32nd of the work of an account: on `main` 2^15 SHA-256, 30 ms (design.md: up to 50 ms an item)."""
MAIL_COPIES_MIN: Final = 2
"""Other nodes that must hold every part before a line is called stored, where there are so many; see `enough_copies`."""
MAIL_NONCES_MAX: Final = 4_096
"""Work done for items of ours that is remembered while they are not stored."""
MAIL_GRACE_S: Final = 2.0
"""A line that nobody has acknowledged, to somebody without a link, goes to their mailbox after this. Our guess."""
MAIL_LINKED_GRACE_S: Final = 15.0
"""The same with a link, which may be slow. Our guess; below KEEPALIVE_TIMEOUT_S, so that a dead one costs no more."""
assert MAIL_LINKED_GRACE_S < KEEPALIVE_TIMEOUT_S
MAIL_PAUSE_S: Final = 0.5
"""From saying a line, or news about one, to looking what is to be done about it. Our guess."""
assert MAIL_PAUSE_S < MAIL_GRACE_S
MAIL_DEADLINES_S: Final = 60.0
"""While a line waits to be fetched, its last day is looked for this often: by a clock that people set."""
MAIL_RETRY_FIRST_S: Final = 5.0
MAIL_RETRY_MAX_S: Final = 300.0
"""Between tries to store a letter; doubles."""
MAIL_TEND_S: Final = 6 * 3600.0
"""How often a stored letter is looked after by its author, while online. Our guess."""
MAIL_POLL_FIRST_S: Final = 10.0
MAIL_POLL_S: Final = 120.0
"""How often one's own mailbox is read: at once, then after this first pause, which doubles twice over. Our guess."""
RECEIPT_POLL_FIRST_S: Final = 30.0
RECEIPT_POLL_MAX_S: Final = 900.0
"""How often an author looks for receipts of one person; doubles. Our guess."""
MAILBOX_REFRESH_S: Final = 24 * 3600.0
"""How often a device says that it wants mail, well within the 14 days for which that holds."""
assert 7 * MAILBOX_REFRESH_S <= SOFT_TTL_S_MAX
MAIL_STORES_OPEN_MAX: Final = 4
MAIL_FETCHES_OPEN_MAX: Final = 16
"""Items stored (at all replicas each) and fetched (from one each) at the same time."""
MAIL_FAILURES_MAX: Final = 8
"""Items that a replica says it has and does not give, before it is asked for no more. Our guess."""
LIST_PAGES_MAX: Final = 128
"""Pages of an index that one reader asks one replica for: a full mailbox with its receipts takes 45."""
MAIL_OWNER_PAGES_MAX: Final = 256
"""Pages of what the owner of a mailbox has said that one replica asks another for: more than all receipts need."""
assert MAIL_OWNER_PAGES_MAX > DEVICES_PER_OWNER_MAX * (1 + MAIL_RECEIPT_SLOTS)
MAIL_LOOK_S: Final = 30.0
"""How often a replica looks for mailboxes that are new to it."""

# --- talk -------------------------------------------------------------------------------------------------------------

CERTIFICATES_CACHED: Final = 4_096
"""Device certificates whose signature was checked and is not checked again: under 1 MiB."""
VERIFY_BATCH: Final = 32
"""Signatures checked before others get their turn on the loop: about 10 ms."""
PARENTS_MAX: Final = 8
"""Heads a message names."""
DELETED_PLACES_MAX: Final = 17
"""Statements one deletion takes back: a line and its edits."""
EDITS_PER_LINE_MAX: Final = DELETED_PLACES_MAX - 1
"""What our own client makes, so that one deletion takes all of them back."""
REVISIONS_MAX: Final = 2**32
"""The largest revision of an edit or a reaction."""
REACTIONS_PER_PERSON_MAX: Final = 8
"""Different reactions of one person to one line that are shown. Our guess."""
OPERATIONS_WAITING_MAX: Final = 4_096
"""Lines of one conversation that are not here and to which something was done. Our guess."""
READ_IDS_MAX: Final = 64
"""Lines that one statement says were read."""
READ_PAUSE_S: Final = 1.0
"""What was read is told together about this often. Our guess."""
READ_TOLD_PEOPLE_MAX: Final = 8
"""In rooms with more people nobody is told what was read: each line would cost one more statement of every member. As many
as are all linked to each other (design.md, "Spreading")."""
READ_WAITING_MAX: Final = 4_096
"""Lines read and not yet told, while one is away."""
HISTORY_NEWCOMER_MESSAGES: Final = 500
HISTORY_NEWCOMER_AGE_S: Final = 7 * 24 * 3600
HISTORY_LINES_MAX: Final = 10_000
"""Lines one `/history` shows, however many were asked for. Our guess."""
SYNC_PAGE_BYTES_MAX: Final = 48 * 1024
SYNC_PAGE_STATEMENTS_MAX: Final = 1_000
SYNC_PAGE_FLOORS_MAX: Final = 96
SYNC_PAGE_ABSENT_MAX: Final = 256
assert (
    SYNC_PAGE_BYTES_MAX
    + 3 * SYNC_PAGE_STATEMENTS_MAX  # what msgpack puts before each
    + 46 * SYNC_PAGE_FLOORS_MAX  # a key, a counter and their headers
    + 18 * SYNC_PAGE_ABSENT_MAX
    + 64
    < FRAME_BYTES_MAX
)
CATCH_UP_SHOWN: Final = HISTORY_NEWCOMER_MESSAGES
"""Of what somebody missed, so much is shown line by line when they are back; what is older is in the history."""
SYNC_TURN_S: Final = 5.0
"""Who was asked for a page and has not sent it after this long is passed over. Our guess: a page on a bad line."""
SYNC_SOURCES_MAX: Final = 16
"""Members whose vectors are remembered while one catches up."""
SYNC_DEVICES_MAX: Final = 1_024
"""Devices one comparison names."""
FIRST_COMPARISON_S: Final = 3.0
"""How long somebody who enters a room waits to hear what was said there before. Our guess: three dials on a bad line."""
ANTI_ENTROPY_INTERVAL_S: Final = 5.0
"""One exchange with a random neighbour of each conversation. Our guess; the rooms issue makes it one a second."""
RULING_HEADS_MAX: Final = 8
"""Newest rulings that a ruling names as its parents, and a message as what its author had seen (design.md, "Rooms")."""
SAID_PER_REMOVAL_MAX: Final = 8
"""Devices of whom is removed, of which a ruling says how far what they said still counts: as many as a person has."""
SAID_PER_MODE_MAX: Final = 30
"""The same of all who fall silent when a room is moderated: as many as fit a record. Those who spoke last."""
REASON_CHARACTERS_MAX: Final = 100
REASON_BYTES_MAX: Final = 200
"""Why somebody was removed. Our guess."""
RULINGS_PER_ROOM_MAX: Final = 4_096
RULINGS_PER_ISSUER_MAX: Final = 1_024
"""Rulings of a room that are kept, at most 4 MiB, and how many of them of one moderator. Our guess; a busy IRC channel has a few
a day."""
assert 4 * RULINGS_PER_ISSUER_MAX <= RULINGS_PER_ROOM_MAX
DOOR_RULINGS_MAX: Final = 3
DOOR_PROOF_BYTES_MAX: Final = 822
"""Rulings that prove a room to be closed, and all their bytes: they fit a record beside its other fields. Three are a handover, a
new moderator, and what they ruled."""
INVITATIONS_MAX: Final = 64
"""Rooms that we were asked into and remember whom to ask there. Our guess."""
MATES_MAX: Final = 8
"""Members whom an invitation names. Our guess: one of so many answers."""
ADMISSION_S: Final = 8.0
"""How long somebody who enters a closed room waits to be let in. Our guess: a lookup and three dials on a bad line."""
RULINGS_PAGE_MAX: Final = 60
"""Rulings in one frame."""
assert RULINGS_PAGE_MAX * (RECORD_BYTES_MAX + 3) + 1_024 <= FRAME_BYTES_MAX
RULINGS_ASKED_S: Final = 1.0
"""Of one neighbour rulings are asked for again at most this often, unless the last ones were new."""
JUDGED_AGAIN_MAX: Final = 500
"""Last lines of a room that are judged again when its rulings change: as many as a newcomer gets."""
MESSAGES_PARKED_MAX: Final = 500
"""Messages of a room that name rulings which are not here; of whom most wait loses the oldest until the next start."""
HANDS_MAX: Final = 256
"""Raised hands of a room that are remembered. Our guess."""
RULINGS_PARKED_MAX: Final = 256
"""Rulings of a room that wait for their parents; of whom most wait loses the oldest."""
ROOM_STATES_CACHED: Final = 1_024
"""Evaluated states of a room that are remembered."""
ROOM_STATES_PEOPLE_CACHED: Final = 65_536
"""People in all of these together, each counted in every state: a place in a dictionary, about 40 bytes."""
HELD_MESSAGES_MAX: Final = 2_000
"""Messages of one conversation that wait for their parents before they are shown."""
ABSENT_PARENTS_MAX: Final = 4_096
"""Parents of one conversation that others said they cannot supply."""
HELD_WAIT_S: Final = 20.0
"""After this long a message whose parents nobody could supply is shown without them. Our guess."""
SAY_BURST: Final = 100
SAY_PER_S: Final = 10.0
"""Our own client paces itself to the budget that others grant an author (design.md, "Spreading")."""
ROOM_MESH_MAX: Final = 8
"""Members up to whom everybody is linked to everybody (design.md, "Spreading"): above it messages go from neighbour to neighbour."""
ROOM_MESH_AGAIN: Final = 6
"""At so many it goes back to that: not each time the ninth comes and goes. Our guess."""
assert ROOM_MESH_AGAIN < ROOM_MESH_MAX
PUSHED_KEPT_MAX: Final = 512
PUSHED_KEPT_BYTES_MAX: Final = 1024 * 1024
"""The last messages of a large room, for neighbours who heard of one and did not get it. Our guess: some seconds of lively talk."""
COMPARED_PUSHED_MAX: Final = 16
"""So many messages that came with one page are passed on; a page of more is somebody's past. Our guess."""
OWN_NEIGHBOURS: Final = 4
GUEST_NEIGHBOURS: Final = 6
"""Whom a member of a large room chooses, and how many more it lets choose it: eight neighbours on average. HyParView has an active
view of 5 for 10,000 nodes (§5.1); why more, and why in two parts, is measured in docs/decisions/0022-spreading.md."""
NEIGHBOUR_ANSWER_S: Final = 10.0
"""From asking somebody to be a neighbour to giving up: a presence is looked up, a link dialled. Our guess."""
NEIGHBOUR_PAUSE_S: Final = 30.0
"""About so long nobody is asked again who refused, or was given up. Our guess."""
NEIGHBOUR_ROTATION_S: Final = 60.0
"""About this often a new neighbour takes the place of the one who brings least, so that nobody stays among liars and two halves of
a room that could not see each other grow together. Our guess."""
REFUSALS_REMEMBERED_MAX: Final = 256
ANNOUNCEMENT_DELAY_S: Final = 0.1
"""Ids for a lazy link are gathered for so long. Our guess: a few round trips on the tree, so that most need no answer."""
ANNOUNCED_IDS_MAX: Final = 256
"""Ids in one announcement; beyond it they are left to a comparison of histories. Our guess."""
GRAFT_DELAY_S: Final = 0.5
PROMISE_S: Final = 0.5
GRAFT_SOURCES: Final = 2
"""What was announced may take so long to come along the tree; then it is asked for from two at once, who have the same time to keep
their promise (design.md, "Spreading")."""
SURVEY_MESSAGES: Final = 256
"""After so many messages the next one goes to all neighbours, and its way becomes the tree. Our guess: with eight neighbours that is
one copy in forty."""
SURVEY_HOPS_MAX: Final = 255
DOUBT_S: Final = 2.0
"""What had to be asked for, and does not come along the tree within this time as well, says that the tree is broken. Our guess: four
losses in a row of one segment."""
DOUBT_MESSAGES: Final = 64
"""Once may be a delay further up, of which a member below it knows nothing: believed when said twice within so many messages. Our
guess."""
ANNOUNCERS_MAX: Final = 8
"""Of one missing message, to be asked one pair after the other."""
MISSING_MAX: Final = 4_096
MISSING_PER_NEIGHBOUR_MAX: Final = 1_024
"""Ids waited for in one room, and those of them that one neighbour announced."""
assert MISSING_PER_NEIGHBOUR_MAX >= ANNOUNCED_IDS_MAX
NEIGHBOUR_SCORE_MAX: Final = 100
"""What a neighbour brought first or failed to bring is counted up to this, so that neither is for ever. Our guess."""
AUTHOR_BURST: Final = 2 * SAY_BURST
AUTHOR_PER_S: Final = 2 * SAY_PER_S
"""Of one author so much spreads in a large room: twice what our own client says, because a delay on the way presses lines together.
What is above it comes with a comparison of histories, page by page."""
AUTHORS_WATCHED_MAX: Final = 1_024
NEIGHBOUR_WASTE_BURST: Final = 300
NEIGHBOUR_WASTE_PER_S: Final = 20.0
"""Frames of a neighbour that bring nothing new, ids that it promises and does not bring or grafts again: one who has used this up
is a neighbour no longer. Our guess: more than what is on its way while a link is pruned in a burst of SAY_BURST."""
assert NEIGHBOUR_WASTE_BURST >= 2 * SAY_BURST
OUTBOX_ENTRIES_MAX: Final = 5_000
"""Own statements whose delivery is followed."""
OUTGOING_LINES_MAX: Final = 10_000
"""Lines typed and not yet paced out; input is not read on above it."""
INPUT_LINE_BYTES_MAX: Final = 64 * 1024
"""Bytes kept of a line from standard input or a password file: far more than any text or password may have."""
assert 4 * max(TEXT_BYTES_MAX, PASSWORD_CHARACTERS_MAX) < INPUT_LINE_BYTES_MAX
BUG_REPORTS_MAX: Final = 20
"""Tracebacks kept in the data folder; the oldest goes."""
LISTERS_PER_ROOM: Final = 3
"""Members who keep a room's directory entry fresh, chosen by hash: everybody knows whose turn it is. Our guess."""
NAME_CHECK_VALID_S: Final = 600.0
NAME_CHECK_RETRY_S: Final = 15.0
NAME_CHECK_CACHE_MAX: Final = 4_096
"""How long an answer about who owns a name is believed, how soon a doubtful one is asked again, how many are kept."""
MEMBERS_MAX: Final = SET_ENTRIES_MAX
PEOPLE_POLL_S: Final = 10.0
PEOPLE_POLL_PER_ENTRY_S: Final = 0.5
"""How often the directory and the memberships of one's rooms are read again: every 10 s, and half a second more for each
entry there, so that the cost of knowing who is there does not grow with their number. Our guess."""
NOTICED_PEOPLE_MAX: Final = 30
"""Up to so many people online everybody's coming and going is told; above it that of contacts and room mates. Our guess."""
CROWD_POLL_S: Final = 90.0
"""How often the directory is read above that number: who comes and goes is not told any more, but contacts are."""
RECONCILE_GRACE_S: Final = 3.0
"""What a neighbour announced this recently is kept although the replicas do not list it yet. Our guess."""
LINK_GRACE_S: Final = 5.0
"""A neighbour whose link broke this long ago, and who did not come back, is shown as offline. Our guess."""
QUIET_LIMIT_S: Final = 10.0
"""No node has answered for this long although asked: disconnected."""
PROBE_INTERVAL_S: Final = 4.0
"""Who has heard nothing for so long asks somebody. Our guess."""
assert QUIET_LIMIT_S > 2 * PROBE_INTERVAL_S
LOOKUPS_AT_ONCE: Final = 8
"""Lookups that one question of a user, or one round of upkeep, has in flight."""
LISTED_ROOMS_MAX: Final = 200
"""Rooms one `/rooms` checks and shows; ask with a prefix for more."""
LISTED_USERS_MAX: Final = 200
"""People one `/users` checks and shows when the directory is more than one leaf; ask with a prefix for more."""
COMPLETION_TIMEOUT_S: Final = 1.5
"""How long a shell that completes a name waits for the running peer. Our guess at the patience of fingers on Tab."""
ROOMS_OFFERED_MAX: Final = 8
"""That the assistant names: a line of a terminal. Our guess."""
LISTINGS_READ_MAX: Final = 6 * LISTED_ROOMS_MAX
"""Entries of a directory that one answer reads: three members list a room, and some entries are nobody's. Our guess."""
MEMBERS_SAMPLE: Final = 64
SAMPLE_READS_MAX: Final = 16
"""Members of a room with many that are read, from so many places of its tree at most; the rest is estimated. Our guess."""
NAMES_TRIED_PER_ROOM: Final = 8
"""Of the names under which one room is listed, those with the most listings are looked up: it has one. Our guess."""
MEMBER_CHECK_INTERVAL_S: Final = 1.0
"""An unknown member makes us read a roster again, at most this often per room."""
MEMBER_FOUND_IN_VAIN_S: Final = 10.0
MEMBERS_FOUND_IN_VAIN_MAX: Final = 1_024
"""Of a room too large to be read whole, somebody who was not found among its members is looked for again after this; and of how
many that is remembered. Our guess."""
ADDRESS_REFRESH_S: Final = 5.0
"""How often the addresses of somebody we want to reach and cannot are read again. Our guess."""
ADDRESS_RECHECK_S: Final = 60.0
"""The same of somebody we are linked to, unless they tell us themselves: who publishes their presence again tells their
neighbours as well."""
assert ADDRESS_RECHECK_S <= PRESENCE_TTL_S - PRESENCE_REFRESH_S
JOURNAL_WRITES_MAX: Final = 20_000
"""Writes waiting for a disk that refuses. Above it nothing more is said, and who sends us something waits. At the longest
texts this is 80 MiB."""
KEEPER_PAUSE_S: Final = 1.0
"""What changes whom we want to be linked to is looked at together, after this long. Our guess."""
SCRUB_INTERVAL_S: Final = 10.0
"""What was deleted is overwritten on disk after this at the latest. Our guess."""
RETENTION_INTERVAL_S: Final = 3_600.0
"""How often it is looked for what is too old to be kept, or too much."""
KEEP_DAYS_MAX: Final = 36_500
KEEP_MIB_MAX: Final = 1_048_576
"""What a user may ask for: a century, a tebibyte."""
RECEIPT_WAIT_S: Final = 0.25
"""How long a receipt waits for a commit that it can share: a lost one is learnt again from the next comparison. Our guess."""
COMMIT_QUICK_S: Final = 0.001
"""A commit that takes no longer than this need not go to a thread. With a history on a disk in memory the way there and back took
0.2 of 0.6 ms of a line (docs/benchmarks.md)."""
COMMITS_QUICK: Final = 16
"""So many in a row must have been quick before one is done on the loop; a single slow one, and they go to a thread again."""
COMMIT_RETRY_S: Final = 1.0
"""A disk that refuses (full) is tried again after this."""
FLUSH_TIMEOUT_S: Final = 10.0
"""At the end of input, how long what was said may take to reach the disks of those who are online."""
GOODBYE_TIMEOUT_S: Final = 2.0
"""Leaving says so to the replicas and the neighbours, for no longer than this."""
EVENTS_WAITING_MAX: Final = 10_000
"""Events no face has taken yet; the oldest chatter (presence, status) goes first."""
SCREEN_LINES_MAX: Final = 10_000
"""Lines of one talk that the full screen keeps to scroll back in; older ones stay in the history. Our guess."""
RESIZE_CHECK_S: Final = 0.1
"""So long after a resize the screen looks whether the terminal still has that size. Our guess: longer than signals take that
interrupt each other, shorter than anybody minds."""
SCREEN_STATUS_POLL_S: Final = 10
"""How often the full screen asks its peer how many others it knows. Our guess: a number in words, not a gauge."""
BELL_PAUSE_S: Final = 2
"""Between two rings of the bell: one is enough for a flood of lines. Our guess."""
NOTICE_PAUSE_S: Final = 10
"""Between two notifications of the desktop about one talk. Our guess."""
NOTICE_CHARACTERS_MAX: Final = 200
"""So much of a line a notification says: what desktops show of it at all. Our guess."""
NOTICES_REMEMBERED_MAX: Final = 1_000
"""Talks of which a screen knows when it told the desktop last."""
SENT_LINES_KEPT_MAX: Final = 200
"""What one typed, for the up key. Our guess."""

# --- the control socket -----------------------------------------------------------------------------------------------

CONTROL_REQUEST_BYTES_MAX: Final = 64 * 1024
"""One line of JSON: a text of TEXT_BYTES_MAX with each byte escaped as six."""
assert 6 * TEXT_BYTES_MAX < CONTROL_REQUEST_BYTES_MAX
CONTROL_ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024
"""What a client takes as one line of its own peer: HISTORY_LINES_MAX of the longest texts."""
assert 2 * HISTORY_LINES_MAX * TEXT_BYTES_MAX < CONTROL_ANSWER_BYTES_MAX
CONTROL_CLIENTS_MAX: Final = 32
"""Connections to the control socket at once; who comes above is turned away. Our guess."""
CONTROL_EVENTS_MAX: Final = 10_000
"""Events that wait for one connection; who lags further behind loses it and finds the rest in the history. Our guess."""
CONTROL_SENDS_MAX: Final = 64
"""Lines of one connection that are waited for at once; further requests of it are not read until one is done."""
CONTROL_HELLO_TIMEOUT_S: Final = 10.0
"""Who connects says what it wants within this."""
CONTROL_ANSWER_TIMEOUT_S: Final = 60.0
"""How long a command waits for its answer: longer than any lookup takes."""
CONTROL_SEND_WAIT_S_MAX: Final = 86_400.0
"""The longest `--wait`."""
CONTROL_PATH_BYTES_MAX: Final = 100
"""A longer path of a socket does not fit everywhere: `sun_path` has 108 bytes on Linux and 104 on macOS."""
PEER_LOG_BYTES_MAX: Final = 1024 * 1024
"""Of the log of a peer in the background; one older file of this size is kept beside it. Our guess."""

# --- the bootstrap service --------------------------------------------------------------------------------------------

REGREET_INTERVAL_S: Final = 60.0
REGREET_FIRST_S: Final = 2.0
"""A bootstrap node greets those it was started with again about this often, so that two halves of a network that lost each
other meet again; while nobody is there first after this long, then twice as long each time. Our guess."""
LOG_TICK_S: Final = 10.0
"""How often a service looks whether there is something to log. Our guess."""
LOG_STATUS_INTERVAL_S: Final = 600.0
"""Between two `status` lines: 144 a day."""
LOG_REPEAT_S: Final = 600.0
"""After a line about a counter that grows the same counter is silent for this long."""
LOG_SAME_MAX: Final = 10
"""Lines of one kind within LOG_REPEAT_S; the others are counted. A full disk would fill the log's disk as well."""
LOG_KINDS_MAX: Final = 256
HTTP_CLIENTS_MAX: Final = 16
"""Connections to `--metrics` at once; the oldest goes first. A collector and a few curious people. Our guess."""
HTTP_HEAD_BYTES_MAX: Final = 8 * 1024
"""Of a request: what Apache and nginx allow for one line of it."""
HTTP_TIMEOUT_S: Final = 5.0
"""From accept to the last byte of the answer: half of Prometheus' default scrape time-out."""
