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
COMBINING_MARKS_MAX: Final = 4
"""Combining marks kept on one base character (contract.md, cleaning)."""

# --- passwords and accounts -------------------------------------------------------------------------------------------

PASSWORD_CHARACTERS_MIN: Final = 10
PASSWORD_CHARACTERS_MAX: Final = 1_000
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
STORE_OVERHEAD_BYTES: Final = 158
"""What a store request and, later, the sealed header (type 1, key 32, boot 8, counter 12, tag 16) put around a record;
pinned by tests/dht/test_sizes.py."""
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
RPC_TRIES: Final = 3
"""A request is sent again this often before its contact counts as silent: 2.1 s in all. Our guess; adaptive timeouts
replace it."""
FIND_REPLY_CONTACTS_MAX: Final = 20
"""20 IPv4 contacts fit a reply (design.md, "Sizes")."""
PAGE_BYTES_MAX: Final = 1_060
"""Records in one answer: UDP_PAYLOAD_BYTES_MAX less header, sealing and cursor; one record of the largest size fits."""
assert RECORD_BYTES_MAX + 60 <= PAGE_BYTES_MAX < UDP_PAYLOAD_BYTES_MAX
SET_PAGES_MAX: Final = 512
"""Pages one reader asks one replica for: more than SET_ENTRIES_MAX entries of the smallest kind can need."""
SET_ENTRIES_MAX: Final = 2_048
"""Entries of one set on one replica."""
STORAGE_ENTRIES_MAX: Final = 50_000
STORAGE_BYTES_MAX: Final = 32 * 1024 * 1024
"""Everything one node stores for others. Our guess: 1 % of a small machine's memory."""
UPKEEP_INTERVAL_S: Final = 180
"""A replica looks after each durable record about this often, with jitter: "every few minutes" (design.md)."""
SETTLE_DELAY_S: Final = 2.0
"""A replica that holds rival claims looks again after this long, so that a race ends the same everywhere."""
CONTACTS_REMEMBERED_MAX: Final = 200
CONTACTS_SAVE_DELAY_S: Final = 0.5
"""Good peers are on disk within a second of being learnt."""
assert CONTACTS_SAVE_DELAY_S < 1.0
TABLE_REFRESH_S: Final = 600
"""Stale buckets are refreshed this often (the paper, §2.3, says an hour; sessions here last minutes)."""
BOOTSTRAP_ADDRESSES_MAX: Final = 16
BOOTSTRAP_PORT: Final = 8_468
"""Where a bootstrap node listens unless told otherwise (contract.md)."""
REQUESTS_OPEN_MAX: Final = 4_096
"""Requests of ours waiting for an answer."""

# --- links ------------------------------------------------------------------------------------------------------------

FRAME_BYTES_MAX: Final = 64 * 1024
"""Largest frame between peers, checked before anything is allocated."""
NONCE_BYTES: Final = 32
HANDSHAKE_TIMEOUT_S: Final = 10
"""From accept to `welcome`."""
DIAL_TIMEOUT_S: Final = 5
HALF_OPEN_MAX: Final = 64
HALF_OPEN_PER_HOST_MAX: Final = 16
"""Connections that have not proved an identity: the oldest goes first."""
LINKS_MAX: Final = 256
KEEPALIVE_INTERVAL_S: Final = 7
KEEPALIVE_TIMEOUT_S: Final = 20
"""A link that stays silent this long is down. Two pings may be lost; a network away for 30 s is noticed."""
assert KEEPALIVE_TIMEOUT_S > 2 * KEEPALIVE_INTERVAL_S
LINK_RACE_S: Final = 12
"""Two links of one pair this close together come from both sides dialling at once; later ones replace the old."""
assert LINK_RACE_S > HANDSHAKE_TIMEOUT_S
BACKOFF_FIRST_S: Final = 0.5
BACKOFF_MAX_S: Final = 60.0
"""Exponential backoff with full jitter between dials of one device."""
LINK_QUEUE_BYTES_MAX: Final = 512 * 1024
"""Bytes waiting for one slow reader before the sender waits, and before the link is dropped if that lasts."""
assert LINK_QUEUE_BYTES_MAX >= 2 * FRAME_BYTES_MAX
LINK_STALL_TIMEOUT_S: Final = 30
INBOX_FRAMES_MAX: Final = 256
"""Frames of one link read but not yet handled; reading stops above it."""

# --- talk -------------------------------------------------------------------------------------------------------------

PARENTS_MAX: Final = 8
"""Heads a message names."""
HISTORY_NEWCOMER_MESSAGES: Final = 500
HISTORY_NEWCOMER_AGE_S: Final = 7 * 24 * 3600
SYNC_PAGE_BYTES_MAX: Final = 48 * 1024
assert SYNC_PAGE_BYTES_MAX + TEXT_BYTES_MAX + RECORD_BYTES_MAX < FRAME_BYTES_MAX
SYNC_DEVICES_MAX: Final = 1_024
"""Devices one comparison names."""
ANTI_ENTROPY_INTERVAL_S: Final = 5.0
"""One exchange with a random neighbour of each conversation. Our guess; the rooms issue makes it one a second."""
HELD_MESSAGES_MAX: Final = 2_000
"""Messages of one conversation that wait for their parents before they are shown."""
ABSENT_PARENTS_MAX: Final = 4_096
"""Parents of one conversation that others said they cannot supply."""
HELD_WAIT_S: Final = 20.0
"""After this long a message whose parents nobody could supply is shown without them. Our guess."""
SAY_BURST: Final = 100
SAY_PER_S: Final = 10.0
"""Our own client paces itself to the budget that others grant an author (design.md, "Spreading")."""
OUTBOX_ENTRIES_MAX: Final = 5_000
"""Own statements whose delivery is followed."""
OUTGOING_LINES_MAX: Final = 10_000
"""Lines typed and not yet paced out; input is not read on above it."""
LISTERS_PER_ROOM: Final = 3
"""Members who keep a room's directory entry fresh, chosen by hash: everybody knows whose turn it is. Our guess."""
MEMBERS_MAX: Final = SET_ENTRIES_MAX
PEOPLE_POLL_S: Final = 10.0
"""How often the directory and the memberships of one's rooms are read again. Our guess."""
RECONCILE_GRACE_S: Final = 3.0
"""What a neighbour announced this recently is kept although the replicas do not list it yet. Our guess."""
LINK_GRACE_S: Final = 5.0
"""A neighbour whose link broke this long ago, and who did not come back, is shown as offline. Our guess."""
QUIET_LIMIT_S: Final = 10.0
"""No node has answered for this long although asked: disconnected."""
PROBE_INTERVAL_S: Final = 3.0
assert QUIET_LIMIT_S > 2 * PROBE_INTERVAL_S
COMMIT_RETRY_S: Final = 1.0
"""A disk that refuses (full) is tried again after this."""
FLUSH_TIMEOUT_S: Final = 10.0
"""At the end of input, how long what was said may take to reach the disks of those who are online."""
GOODBYE_TIMEOUT_S: Final = 2.0
"""Leaving says so to the replicas and the neighbours, for no longer than this."""
EVENTS_WAITING_MAX: Final = 10_000
"""Events no face has taken yet; the oldest chatter (presence, status) goes first."""
