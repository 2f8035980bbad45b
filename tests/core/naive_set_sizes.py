"""Plain-Python twin of decider_core.set_sizes, from the definition."""


def never_fewer(chosen, i, value, tired, penalty, least, caps):
    """Whether each message is admitted after all others at their worst, and one kind of caps has room for all."""
    m = len(chosen)
    if m < 2:
        return True
    stays = all(
        value[k] - tired * type(tired)(m - 1) - penalty * type(tired)(m - 1) >= least[k] for k in chosen
    )
    channels = all(caps.room_channel[caps.channel[k]][i] >= m for k in chosen)
    topics = all(caps.room_topic[caps.topic[k]][i] >= m for k in chosen)
    return stays and (channels or topics)


def never_more(chosen, i, value, reason, least, caps):
    """Whether no set of what is admitted alone is larger, by the room of the member, of channels or of topics."""
    alone = [k for k in range(len(value)) if reason[k] == 0 and value[k] >= least[k]]
    sizes = [len(alone), int(caps.room_member[i]), caps.max_messages]
    for kind, room in ((caps.channel, caps.room_channel), (caps.topic, caps.room_topic)):
        sizes.append(sum(min(int(room[c][i]), sum(kind[k] == c for k in alone)) for c in range(len(room))))
    return len(chosen) >= min(sizes)
