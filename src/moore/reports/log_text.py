"""The summary of a log as one screen of plain text."""

import textwrap
from collections.abc import Sequence

from moore.data.cuts import ends_text
from moore.findings.defects import refusals, stops, warnings
from moore.numbers import counted

WIDTH = 110
_INDENT = 16
_MOST_DIMS = 24
BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.:-=+*#"


def format_summary(summary: dict, *, blocks: str = BLOCKS) -> str:
    """The numbers, without warnings and without a newline at the end.

    Args:
        summary: the result of `moore.inspecting.summary.summarize`.
        blocks: characters for the heights of a histogram, low to high; `ASCII_BLOCKS` for a
            terminal that has no others.
    """
    s = summary
    lines = [*_source_lines(s), *_episode_lines(s, blocks), *_row_lines(s)]
    text = "\n".join(f"{label:<{_INDENT}}{text}".rstrip() for label, text in lines)
    # Names and ids come from files, which may hold what moves the cursor.
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def format_replay(replay: dict) -> str:
    """The result of `moore.inspecting.replay_check` as a few lines, without its verdict."""
    r = replay
    left_out = {k.replace("_", " "): n for k, n in r["skipped"].items() if n and k != "looked_at"}
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())
    skipped = f"; left out of {r['skipped']['looked_at']:,}: {reasons}" if reasons else ""
    source = f"states from the {r['state_from']}"
    if r["infos_offset"]:
        source += f", shifted by {r['infos_offset']:+d} row"
    lines = [
        ("replay", f"{r['rows']:,} rows in {r['env_id']}, {source}{skipped}"),
        ("  next obs", f"{_error_text(r['obs'])}; worst dimension {r['worst_dim']}"),
        ("  reward", _error_text(r["reward"])),
        ("  terminal", f"flags agree in {r['flags_agree']:.1%} of the rows"),
    ]
    if r["terminal_rows"]:
        there = r["terminal_reward"]
        lines.append(
            (
                "",
                f"{r['terminal_rows']:,} terminal rows: flags agree in "
                f"{r['terminal_flags_agree']:.1%}; reward median {there['median']:.1e}, "
                f"{there['within']:.1%} within 0.001",
            )
        )
    lines += [(f"  {'or' * (i == 0)}", _other_text(o)) for i, o in enumerate(r["explanations"])]
    lines.append(
        ("", "(errors as shares of a typical change: of one-step changes' and rewards' sd)")
    )
    return "\n".join(f"{label:<{_INDENT}}{text}" for label, text in lines)


def sparkline(counts: Sequence[int | float], blocks: str = BLOCKS) -> str:
    """Heights as characters; 0 is a space, anything higher at least the lowest character."""
    top = max(counts, default=0)
    if top <= 0:
        return " " * len(counts)
    heights = (int(n / top * (len(blocks) - 0.001)) for n in counts)
    return "".join(" " if n <= 0 else blocks[h] for n, h in zip(counts, heights, strict=True))


def trend_text(summary: dict) -> str:
    """What the order of the returns says about the policies that were logged."""
    rho = summary["return_trend"]
    if rho is None:
        return ""
    course = f"(rank correlation {rho:.2f})"
    if rho > 0.4:
        return f"rise along the log, as in a replay buffer {course}"
    if rho < -0.4:
        return f"fall along the log: sorted, or files joined {course}"
    return f"no trend, as from one policy or shuffled episodes {course}"


def verdict_text(
    warnings: list[str],
    refusals: list[str],
    stops: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> str:
    """Whether the log can be used, in one line.

    Args:
        warnings: all findings.
        refusals: the findings for which training refuses the log.
        stops: names of the findings that stop a run until they are accepted.
        flags: further flags that a run needs for this log.
    """
    others = len(warnings) - len(refusals) - (0 if refusals else len(stops))
    if refusals:
        reasons = _count(len(refusals), "reason")
        return f"Training refuses this log, for {reasons}; {_count(others, 'finding')} besides."
    needed = f" with {' '.join(flags)}" if flags else ""
    if stops:
        reasons = _count(len(stops), "reason")
        return (
            f"Training stops at this log, for {reasons}, and takes it as it is only"
            f"{needed or ' with'} --accept {' '.join(stops)}; {_count(others, 'finding')} besides."
        )
    if others:
        return f"Training takes this log{needed}; {_count(others, 'finding')} to look at."
    return f"Training takes this log{needed}; nothing suspicious was found."


def verdict_of(summary: dict, replay: dict | None = None) -> str:
    """The verdict on a summary."""
    found = [finding.name for finding in stops(summary)]
    flags = list(summary["run_flags"])
    if summary["env_id"] is None and not summary["env_given"] and flags:
        flags[0] += " (of a plant: --action-low, --action-high)"
    return verdict_text(warnings(summary, replay), refusals(summary), found, flags)


def _source_lines(s: dict) -> list[tuple[str, str]]:
    env = s["env_id"] or "not named"
    if s["env_given"]:
        env = f"{s['checked_as']}, as given" + (f"; the log names {env}" if s["env_id"] else "")
    elif s["checked_as"] not in (None, s["env_id"]):
        env += f", checked as {s['checked_as']}"
    if s["env_problem"]:
        env += ", not checked"
    if s["step_limit"] is not None:
        env += f", at most {s['step_limit']:,} steps an episode"
    lines = [
        ("data set", s["name"]),
        ("environment", env),
        ("sha256", s["sha256"] or "of no single file"),
    ]
    if s["known_files"]:
        names = ", ".join(s["known_files"])
        lines.append(("known as", f"{names} (D4RL); {s['recommended_env']} recommended"))
    sizes = (
        f"{s['rows']:,} rows, {s['obs_dim']} observation and {s['action_dim']} action dimensions"
    )
    if s["infos"]:
        sizes += f"; infos: {', '.join(s['infos'])}"
    return [*lines, ("size", sizes)]


def _episode_lines(s: dict, blocks: str) -> list[tuple[str, str]]:
    tail = s["incomplete_rows"]
    unfinished = f", and {tail:,} rows of an unfinished one" if tail else ""
    cuts = "time-outs"
    if not s["timeouts_recorded"]:
        cuts = f"cuts (no time-out flags; {ends_text(s['ends_source'], s['ends_steps'])})"
    if s["score"] is None:
        score = "no reference returns"
    else:
        r = s["reference"]
        ends = f"0 = {r['random']:,.5g}, 100 = {r['expert']:,.5g}, {r['source']}"
        score = f"{s['score']:.1f} ({ends})"
    lines = [
        ("episodes", f"{s['episodes']:,} complete{unfinished}"),
        ("ended by", f"{s['terminals']:,} terminals, {s['timeouts']:,} {cuts}"),
        *_distribution("length", s["episode_length"], s["length_histogram"], blocks),
        *_distribution("return", s["episode_return"], s["return_histogram"], blocks),
    ]
    if trend := trend_text(s):
        along = [group["mean"] for group in s["returns_along"]]
        low, high = min(along), max(along)
        heights = sparkline([y - low + 1e-9 * (high - low) for y in along], blocks)
        tenth = max(1, len(along) // 10)
        first, last = (sum(part) / tenth for part in (along[:tenth], along[-tenth:]))
        lines += [("  in order", trend), ("", f"{first:,.4g} |{heights}| {last:,.4g}")]
    return [*lines, ("score", score)]


def _row_lines(s: dict) -> list[tuple[str, str]]:
    bounds = "the environment's bounds" if s["action_bounds_known"] else "[-1, 1], bounds not known"
    rule = "not checked: no rule known"
    if s["rule_checked"]:
        rule = (
            f"{s['flagged_healthy']:,} terminal without cause, {s['unhealthy_unflagged']:,} missing"
            f", by the rule of {s['checked_as']} on {s['rule_checked']:,} rows"
        )
    if s["successors_stored"]:
        successors = (
            f"stored; {s['unknown_successors']:,} unknown, {s['broken_successors']:,} broken, "
            f"{s['reset_successors']:,} after a reset, {s['unchanged_successors']:,} unchanged"
        )
    else:
        successors = f"the next rows'; {s['unknown_successors']:,} unknown, at terminals"
    lines = [
        ("reward", f"{_spread_text(s['reward'], digits=4)}"),
        *_range_lines("observations", s["obs_min"], s["obs_max"]),
        *_constant_lines(s, "obs"),
        *_range_lines("actions", s["action_min"], s["action_max"]),
        *_constant_lines(s, "action"),
        ("  at the border", f"{s['share_actions_at_border']:.2%} of the entries ({bounds})"),
        ("terminal flags", rule),
        ("successors", successors),
        ("duplicates", f"{s['duplicate_rows']:,} rows"),
    ]
    return lines


def _spread_text(s: dict | None, digits: int = 5) -> str:
    if s is None:
        return "none"
    number = {key: f"{value:,.{digits}g}" for key, value in s.items()}
    return (
        f"mean {number['mean']}, sd {number['sd']}; min {number['min']}, quartiles {number['q25']} "
        f"{number['median']} {number['q75']}, max {number['max']}"
    )


def _distribution(label: str, s: dict | None, h: dict, blocks: str) -> list[tuple[str, str]]:
    if s is None:
        return [(label, "none")]
    if s["min"] == s["max"]:
        return [(label, f"{s['mean']:,.5g} in every episode")]
    heights = sparkline(h["counts"], blocks)
    ends = f"{h['edges'][0]:,.4g} |{heights}| {h['edges'][-1]:,.4g}"
    return [(label, _spread_text(s)), ("", ends)]


def _range_lines(label: str, low: list, high: list) -> list[tuple[str, str]]:
    shown = [f"[{a:.3g}, {b:.3g}]" for a, b in zip(low, high, strict=True)][:_MOST_DIMS]
    if len(low) > _MOST_DIMS:
        shown.append(f"and {len(low) - _MOST_DIMS} more (--json has all)")
    text = " ".join(part.replace(" ", "\0") for part in shown)  # lines break between ranges only
    wrapped = textwrap.wrap(text, WIDTH - _INDENT, break_long_words=False) or [""]
    wrapped = [line.replace("\0", " ") for line in wrapped]
    return [(label, wrapped[0]), *(("", line) for line in wrapped[1:])]


def _constant_lines(s: dict, key: str) -> list[tuple[str, str]]:
    lines = []
    for title, name in (("  constant", "constant"), ("  nearly so", "nearly_constant")):
        if dims := s[f"{name}_{key}_dims"]:
            lines.append((title, "dimensions " + ", ".join(map(str, dims))))
    return lines


def _error_text(e: dict) -> str:
    return (
        f"median {e['median']:.1e}, 90% {e['p90']:.1e}, 99% {e['p99']:.1e}, max {e['max']:.1e}; "
        f"{e['within']:.1%} within 0.001"
    )


def _other_text(other: dict) -> str:
    obs, reward = (f"{other[key]['within']:.1%}" for key in ("obs", "reward"))
    return f"{other['name']}: next obs within 0.001 in {obs}, reward in {reward}"


def _count(number: int, word: str) -> str:
    return counted(number, word) if number else f"no {word}s"
