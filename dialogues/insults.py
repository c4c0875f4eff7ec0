"""Words that a gentle summary must not contain.

Two lists, because English insults are often everyday nouns. A word in ALWAYS is an insult wherever
it stands; a word in WHEN_RUDE is refused only beside a rude dialogue, so that a calm dialogue about
rubbish collection or a circus clown stays valid.
"""

from __future__ import annotations

import re

ALWAYS: frozenset[str] = frozenset(
    """
    airhead airheads arsehole ass asshole bastard birdbrain blockhead blockheads bonehead
    boneheaded boneheads bozo bozos brainless buffoon buffoons bullshit chump crap crappy
    cretin damn dimwit dimwits dimwitted dolt dolts doofus dope dork dumb dumbass dumber
    dumbest dunce dunces fathead fool foolish fools goofball gormless halfwit halfwits
    halfwitted idiocy idiot idiotic idiots imbecile imbeciles imbecilic jackass knucklehead
    knuckleheads lamebrain layabout loser losers loudmouth lowlife lunkhead moron moronic
    morons nincompoop nitwit nitwits numbskull numbskulls numpty oaf oafs pathetic pigheaded
    pinhead plonker prat scatterbrain scatterbrained scumbag shit shithead shitty simpleton
    simpletons slacker slackers stupid stupider stupidest stupidity stupidly thickhead
    thickheaded twerp wimp witless
    """.split()  # noqa: SIM905  (a list literal would run to a screenful)
)

WHEN_RUDE: frozenset[str] = frozenset(
    """
    blithering bumbling clown clowns clueless coward cowardly crybaby disgrace
    donkey donkeys dummy einstein garbage genius hopeless imbecility incompetence
    incompetent jerk jerks laughable laughingstock lazy ludicrous muppet muppets
    parasite ridiculous rubbish sherlock slob slobs sloth
    spineless trash trashy turnip twit twits useless vermin weasel windbag worthless
    """.split()  # noqa: SIM905  (a list literal would run to a screenful)
)

_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def insult_words(text: str, *, rude: bool) -> set[str]:
    """Return the insult words in `text`; `rude` says that the dialogue itself is a rude one."""
    tokens = set(_TOKEN.findall(text.lower()))
    tokens |= {part for token in tokens for part in re.split(r"['-]", token)}
    return tokens & (ALWAYS | WHEN_RUDE if rude else ALWAYS)
