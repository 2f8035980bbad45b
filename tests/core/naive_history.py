"""Eligibility and history in plain Python, member by member, from their definitions."""

import numpy as np

NOT_LIVE, CHANNEL_FILTER, AUDIENCE, CONSENT, QUIET_HOURS = 1, 2, 3, 4, 5
SUPPRESSED, MEMBER_CAP, CHANNEL_CAP, TOPIC_CAP = 6, 7, 8, 9


def permit(rows, audience, consent, live, channel, channel_allowed, quiet):
    reason = np.zeros((len(live), len(rows)), np.uint8)
    for k in range(len(live)):
        for i, row in enumerate(rows):
            c = channel[k]
            barred = [
                (live[k], live[k] != 0),
                (CHANNEL_FILTER, not channel_allowed[c]),
                (AUDIENCE, not (int(audience[k // 64, row]) >> (k % 64)) & 1),
                (CONSENT, not (int(consent[row]) >> int(c)) & 1),
                (QUIET_HOURS, quiet[c, i]),
            ]
            reason[k, i] = next((code for code, holds in barred if holds), 0)
    return reason


def entries(row, snapshot, live, until_sequence):
    """Everything known of a row: (kind, time, type, topic, channel) as the log tells it, in no order."""
    found = []
    for e in range(snapshot.offsets[row], snapshot.offsets[row + 1]):
        c = snapshot.code[e]
        found.append((0, snapshot.time_micros[e], snapshot.type[c], snapshot.topic[c], snapshot.channel[c]))
    e = live.head[row]
    while e >= 0:
        c, when = live.code[e], live.occasion[e]
        if live.sequence[when] <= until_sequence:
            found.append((live.kind[e], live.time_micros[when], live.type[c], live.topic[c], live.channel[c]))
        e = live.next[e]
    return found


def apply_history(rows, times, snapshot, live, until_sequence, candidates, rules, max_messages, reason):
    n, n_channels, n_topics = len(rows), len(rules.channel_cap), len(rules.topic_cap)
    reason = reason.copy()
    room_member = np.zeros(n, np.int16)
    room_channel = np.zeros((n_channels, n), np.int16)
    room_topic = np.zeros((n_topics, n), np.int16)

    def room(cap, count):
        return max_messages if cap < 0 else min(max_messages, max(0, cap - count))

    for i, row in enumerate(rows):
        now = int(times[i])
        known = entries(row, snapshot, live, until_sequence)
        sends = [e for e in known if e[0] == 0]

        def within(seconds, now=now, sends=sends):
            return [e for e in sends if now - int(seconds) * 1_000_000 < e[1] <= now]

        room_member[i] = room(rules.member_cap, len(within(rules.member_window_seconds)))
        for c in range(n_channels):
            count = sum(e[4] == c for e in within(rules.channel_window_seconds[c]))
            room_channel[c, i] = room(rules.channel_cap[c], count)
        for t in range(n_topics):
            count = sum(e[3] == t for e in within(rules.topic_window_seconds[t]))
            room_topic[t, i] = room(rules.topic_cap[t], count)
        for k in range(len(candidates.channel)):
            channel, topic, kind = (x[k] for x in candidates)
            recent = within(rules.suppress_seconds[k])
            similar = {
                0: False,
                1: any(e[3] == topic for e in recent),
                2: any(e[2] == kind for e in recent),
                3: any(e[3] == topic or e[2] == kind for e in recent),
            }[int(rules.suppress_scope[k])]
            barred = [
                (reason[k, i], reason[k, i] != 0),
                (CONSENT, any(e[0] == 1 and e[4] == channel for e in known)),
                (SUPPRESSED, similar),
                (MEMBER_CAP, room_member[i] == 0),
                (CHANNEL_CAP, room_channel[channel, i] == 0),
                (TOPIC_CAP, room_topic[topic, i] == 0),
            ]
            reason[k, i] = min((code for code, holds in barred if holds), default=0)
    return reason, room_member, room_channel, room_topic
