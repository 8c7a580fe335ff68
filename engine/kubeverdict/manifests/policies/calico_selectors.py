"""Calico's selectors: an expression over labels, parsed and lowered to selectors of the model.

Calico gives each end labels beside its own: where it is, its service account, and with a prefix the
labels of its namespace and of its service account. So one expression may ask for all of them at
once. Here it becomes *terms*, of which any may hold: each is a selector of an end's own labels and
one of its namespace's. What ends have differs: a network set has no service account, a global one
no namespace either.

Labels of service accounts are not known. What asks for them is taken to hold, and said.

Sources: libcalico-go/lib/selector and libcalico-go/lib/backend/k8s/conversion of Calico 3.31.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from kubeverdict.manifests.policies.accounts import pods_of_account
from kubeverdict.model.cluster import METADATA_NAME
from kubeverdict.model.policy import PodPeer, SetPeer
from kubeverdict.model.selectors import EVERYTHING, Operator, Requirement, Selector

NAMESPACE = "projectcalico.org/namespace"
ACCOUNT = "projectcalico.org/serviceaccount"
_ORCHESTRATOR = "projectcalico.org/orchestrator"
_NAME = "projectcalico.org/name"
OF_NAMESPACES, OF_ACCOUNTS = "pcns.", "pcsa."

LONGEST = 1024  # characters
# An expression that becomes more terms than this is refused: nobody has written it.
_MOST_TERMS = 256

# What holds where there is no such label.
_OF_ABSENT = (Operator.NOT_IN, Operator.DOES_NOT_EXIST)


class SelectorError(Exception):
    """An expression that is none, or is not understood: why, and where."""


class Several(NamedTuple):
    """All of ``parts``, or any of them."""

    parts: tuple[Expression, ...]
    either: bool = False


class Negation(NamedTuple):
    part: Expression


Expression = Requirement | Several | Negation
ALL, NOBODY = Several(()), Several((), either=True)
IN_NAMESPACE = Requirement(NAMESPACE, Operator.EXISTS)
GLOBAL = Negation(IN_NAMESPACE)


class SelectorTerm(NamedTuple):
    """Ends with some labels of their own, in namespaces with some labels."""

    own: Selector
    namespaces: Selector


class KindOfEnd(NamedTuple):
    """What the ends of a kind have labels of."""

    namespace: bool
    workload: bool  # a service account, and an orchestrator


POD, LOCAL_SET, GLOBAL_SET = KindOfEnd(True, True), KindOfEnd(True, False), KindOfEnd(False, False)

# --- terms -----------------------------------------------------------------------------------


class SelectorTerms(NamedTuple):
    """Terms of which any may hold. ``guessed``: something was taken to hold that is not known."""

    terms: tuple[SelectorTerm, ...]
    guessed: bool = False


_NEVER, _ALWAYS = SelectorTerms(()), SelectorTerms((SelectorTerm(EVERYTHING, EVERYTHING),))


def lowered(expression: Expression, kind: KindOfEnd, negated: bool = False) -> SelectorTerms:
    """What of the ends of a kind an expression selects, or does not. Raises SelectorError."""
    if isinstance(expression, Negation):
        return lowered(expression.part, kind, not negated)
    if isinstance(expression, Requirement):
        return _requirement(expression, kind, negated)
    parts = [lowered(part, kind, negated) for part in expression.parts]
    return _any_of(parts) if expression.either != negated else _all_of(parts)


def _requirement(asked: Requirement, kind: KindOfEnd, negated: bool) -> SelectorTerms:
    key, operator = asked.key, asked.operator
    if key == _ORCHESTRATOR:
        labels = {key: "k8s"} if kind.workload else {}
        return _ALWAYS if asked.matches(labels) != negated else _NEVER
    if key in (NAMESPACE, OF_NAMESPACES + _NAME):
        return _in_namespace(Requirement(METADATA_NAME, operator, asked.values), kind, negated)
    if key.startswith(OF_NAMESPACES):
        plain = Requirement(key.removeprefix(OF_NAMESPACES), operator, asked.values)
        return _in_namespace(plain, kind, negated)
    if key in (ACCOUNT, OF_ACCOUNTS + _NAME):
        if not kind.workload:
            return _absent(asked, negated)
        found = pods_of_account(asked)
        own = Selector.none_of([found]) if negated else found
        return SelectorTerms((SelectorTerm(own, EVERYTHING),))
    if key.startswith(OF_ACCOUNTS):
        return _absent(asked, negated) if not kind.workload else _ALWAYS._replace(guessed=True)
    return SelectorTerms((SelectorTerm(_either(asked, negated), EVERYTHING),))


def _in_namespace(asked: Requirement, kind: KindOfEnd, negated: bool) -> SelectorTerms:
    if not kind.namespace:
        return _absent(asked, negated)
    if asked.key == METADATA_NAME and asked.operator in (Operator.EXISTS, Operator.DOES_NOT_EXIST):
        return _ALWAYS if (asked.operator is Operator.EXISTS) != negated else _NEVER
    return SelectorTerms((SelectorTerm(EVERYTHING, _either(asked, negated)),))


def _absent(asked: Requirement, negated: bool) -> SelectorTerms:
    return _ALWAYS if (asked.operator in _OF_ABSENT) != negated else _NEVER


def _either(asked: Requirement, negated: bool) -> Selector:
    plain = Selector.of([asked])
    return Selector.none_of([plain]) if negated else plain


def _any_of(parts: Iterable[SelectorTerms]) -> SelectorTerms:
    """The union. SelectorTerms that differ in one of their selectors are one."""
    found = list(parts)
    terms = dict.fromkeys(term for part in found for term in part.terms)
    by_space: dict[Selector, list[Selector]] = {}
    for term in terms:
        by_space.setdefault(term.namespaces, []).append(term.own)
    by_own: dict[Selector, list[Selector]] = {}
    for space, own in by_space.items():
        by_own.setdefault(Selector.any_of(own), []).append(space)
    merged = tuple(SelectorTerm(own, Selector.any_of(spaces)) for own, spaces in by_own.items())
    return SelectorTerms(merged, any(part.guessed for part in found))


def _all_of(parts: Iterable[SelectorTerms]) -> SelectorTerms:
    whole = _ALWAYS
    for part in parts:
        if len(whole.terms) * len(part.terms) > _MOST_TERMS:
            raise SelectorError("mixes labels of ends and of namespaces in too many ways")
        both = tuple(
            SelectorTerm(
                Selector.all_of((one.own, other.own)),
                Selector.all_of((one.namespaces, other.namespaces)),
            )
            for one in whole.terms
            for other in part.terms
        )
        whole = SelectorTerms(both, whole.guessed or part.guessed)
        whole = _any_of([whole])
    return whole


def pods_of(term: SelectorTerm) -> PodPeer:
    """The pods of a term."""
    [only] = term.namespaces.requirements if len(term.namespaces.requirements) == 1 else [None]
    if (
        only is not None
        and not term.namespaces.clauses
        and (only.key, only.operator, len(only.values)) == (METADATA_NAME, Operator.IN, 1)
    ):
        return PodPeer(term.own, only.values[0])
    return PodPeer(term.own, None, term.namespaces)


def sets_of(term: SelectorTerm, kind: str) -> SetPeer:
    """The network sets of a term that are of a kind."""
    return SetPeer(kind, None, term.own, None, term.namespaces)


# --- the language ----------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""
    (?P<text>"[^"]*"|'[^']*') | (?P<open>["'])
    | (?P<sign>==|!=|&&|\|\||[!(){},])
    | (?P<call>(?:has|all|global)\()
    | (?P<word>[a-zA-Z0-9_./-]+)
    """,
    re.VERBOSE,
)
_WORDS = {
    "in": Operator.IN,
    "contains": Operator.CONTAINS,
    "starts": Operator.STARTS_WITH,
    "ends": Operator.ENDS_WITH,
}
_LONGEST_LABEL = 512


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parse(text: str, prefix: str = "", everyone: Expression = ALL) -> Expression:
    """The expression that ``text`` spells; nothing is everyone. ``prefix`` is put in front of each
    label; ``everyone`` is what ``all()`` stands for. Raises SelectorError."""
    tokens = _tokens(text)
    if len(tokens) == 1:
        return everyone
    return _Parser(text, tokens, prefix, everyone).whole()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t":
            at += 1
        if at == len(text):
            return [*found, _Token("end", "", at)]
        match = _TOKEN.match(text, at)
        if match is None:
            double = {"=": "==", "&": "&&", "|": "||"}.get(text[at])
            hint = f", write {double}" if double else ""
            raise _error(text, at, f"{text[at]!r} is not expected{hint}")
        kind = match.lastgroup or ""
        if kind == "open":
            raise _error(text, at, "the quote is not closed")
        found.append(_Token(kind, match[0], at))
        at = match.end()


def _error(text: str, at: int, message: str) -> SelectorError:
    where = "at the end" if at >= len(text) else f"at character {at + 1}"
    return SelectorError(f"{where}: {message}")


class _Parser:
    """A recursive descent: ``!`` binds closest, then ``&&``, then ``||``."""

    def __init__(self, text: str, tokens: list[_Token], prefix: str, everyone: Expression) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._prefix = prefix
        self._everyone = everyone
        self._depth = 0

    def whole(self) -> Expression:
        found = self._either()
        token = self._tokens[self._at]
        if token.kind != "end":
            raise self._wrong(token, "&& or || or the end is expected")
        return found

    def _either(self) -> Expression:
        return self._several("||", lambda: self._several("&&", self._operation))

    def _several(self, sign: str, part: Callable[[], Expression]) -> Expression:
        found = [part()]
        while self._takes(sign):
            found.append(part())
        return found[0] if len(found) == 1 else Several(tuple(found), sign == "||")

    def _operation(self) -> Expression:
        negated = False
        while self._takes("!"):
            negated = not negated
        found = self._operand()
        return Negation(found) if negated else found

    def _operand(self) -> Expression:
        token = self._next()
        if token.text == "(" and token.kind == "sign":
            self._depth += 1
            if self._depth > 100:
                raise self._wrong(token, "too many parentheses")
            found = self._either()
            self._expect(")")
            self._depth -= 1
            return found
        if token.kind == "call":
            if token.text == "has(":
                label = self._next()
                if label.kind != "word":
                    raise self._wrong(label, "a label is expected")
                self._expect(")")
                return Requirement(self._label(label), Operator.EXISTS)
            self._expect(")")
            return self._everyone if token.text == "all(" else GLOBAL
        if token.kind == "word":
            return self._comparison(token)
        raise self._wrong(token, "a label, has(), all() or ( is expected")

    def _comparison(self, label: _Token) -> Expression:
        key = self._label(label)
        token = self._next()
        if token.kind == "sign" and token.text in ("==", "!="):
            operator = Operator.IN if token.text == "==" else Operator.NOT_IN
            return Requirement(key, operator, (self._string(),))
        if token.kind == "word":
            operator_of = self._operator(token)
            if operator_of in (Operator.IN, Operator.NOT_IN):
                values = self._set()
                if not values:
                    return NOBODY if operator_of is Operator.IN else ALL
                return Requirement(key, operator_of, values)
            return Requirement(key, operator_of, (self._string(),))
        raise self._wrong(token, f"an operator is expected behind the label {label.text}")

    def _operator(self, token: _Token) -> Operator:
        if token.text in ("notin", "not"):
            if token.text == "not":
                self._expect("in")
            return Operator.NOT_IN
        if token.text in ("startswith", "endswith"):
            return Operator.STARTS_WITH if token.text[0] == "s" else Operator.ENDS_WITH
        if token.text not in _WORDS:
            operators = "==, !=, in, not in, contains, starts with or ends with"
            raise self._wrong(token, f"{operators} is expected")
        if token.text in ("starts", "ends"):
            self._expect("with")
        return _WORDS[token.text]

    def _set(self) -> tuple[str, ...]:
        self._expect("{")
        values: set[str] = set()
        while self._tokens[self._at].kind == "text":
            values.add(self._string())
            if not self._takes(","):
                break
        self._expect("}")
        return tuple(sorted(values))

    def _string(self) -> str:
        token = self._next()
        if token.kind != "text":
            raise self._wrong(token, "a value in quotes is expected")
        return token.text[1:-1]

    def _label(self, token: _Token) -> str:
        if len(token.text) > _LONGEST_LABEL:
            raise _error(self._text, token.at, f"a label has at most {_LONGEST_LABEL} characters")
        return self._prefix + token.text

    def _takes(self, text: str) -> bool:
        token = self._tokens[self._at]
        if token.text != text or token.kind == "text":
            return False
        self._at += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._takes(text):
            raise self._wrong(self._tokens[self._at], f"{text} is expected")

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token

    def _wrong(self, token: _Token, message: str) -> SelectorError:
        shown = f", not {token.text}" if token.text else ""
        return _error(self._text, token.at, f"{message}{shown}")
