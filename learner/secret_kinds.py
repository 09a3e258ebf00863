"""Kinds of secrets, each an anchored pattern, with the letters that must be there before it is tried.

Every pattern is linear in the text: a run of unbounded length starts only where no letter of the
same run stands before it, or ends the match when it ends (a test feeds adversarial texts).
"""

from __future__ import annotations

import re

_START = r"(?<![A-Za-z0-9_-])"
_PLACEHOLDER = (
    r"(?!['\"](?:[/.~#]|https?:|(?i:your|my[_-]|example|change|placeholder|dummy|fake|test|xxx|passw|secret|token|api|"
    r"access|auth|private|client|user|none|null|undefined|redacted|process\.|os\.|env|config|settings|x-)"
    r"[a-zA-Z_.-]*['\"]))"
)
"""A path, an address, or a word that stands where a secret would."""
_QUOTED = "(?:{})".format(
    "|".join(
        rf"{q}(?:(?=[^{q}\s]*[\d!@#%^&*+=?~])[^{q}\s$<{{]{{8,}}|(?=[^{q}\s]*[a-z][A-Z])[^{q}\s$<{{]{{12,}}){q}"
        for q in "\"'"
    )
)
_NAMES = (
    r"(?i:password|passwd|passphrase|pwd|secret|api[_-]?key|(?:auth|access|refresh|bot|session)[_-]?token|"
    r"(?:secret|private|encryption|signing)[_-]?(?:access[_-]?)?key)"
)
_NO_HASH = r"(?!(?i:sha[-_]?\d|md5|base\d|bcrypt|utf-?\d|argon2|pbkdf2|scrypt|aes-?\d|rot\d|v\d|\d+[a-z]*\b))"
_MIXED = r"(?=[^\s]{0,80}[A-Za-z])(?=[^\s]{0,80}(?:[\d@#%^&]|![^\s]))"

KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "a private key",
        ("PRIVATE KEY", "PuTTY-User-Key-File"),
        r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-(?!----)[^-]*)*"
        r"(?:-----END [A-Z0-9 ]{1,40}-----)?|-----END (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----|"
        r"PuTTY-User-Key-File-\d",
    ),
    # the middle of a key, whose first and last lines were cut off: base64 in lines of 64
    ("the body of a key", ("\n",), r"(?m:(?:^[ \t>]{0,8}[A-Za-z0-9+/]{64}\r?\n){3,})"),
    ("an age key", ("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[0-9A-Z]{40,}"),
    ("an AWS access key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"),
    (
        "an AWS secret",
        ("aws",),
        r"(?i:aws.{0,20}(?:secret|key).{0,20})['\"=:\s]{1,8}[0-9a-zA-Z/+]{40}(?![0-9a-zA-Z/+])",
    ),
    ("a GitHub token", ("gh", "github_pat_"), r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})"),
    ("a GitLab token", ("gl",), r"\bgl(?:pat|ptt|dt|rt|soat|cbt|ft|agent|oas)-[A-Za-z0-9_.-]{20,}"),
    ("a Slack token", ("xox", "xapp-"), r"\b(?:xox[abceoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,})"),
    ("a webhook address", ("hooks.slack.com", "discord"), r"(?:hooks\.slack\.com/(?:services|workflows)/[\w/-]{20,}|"
     r"discord(?:app)?\.com/api/webhooks/\d{10,}/[\w-]{20,})"),
    ("a Google API key", ("AIza",), r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
    ("a Google OAuth token", ("ya29.", "GOCSPX-"), r"\b(?:ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[0-9A-Za-z_-]{20,})"),
    ("a Stripe key", ("k_live_", "k_test_", "whsec_"),
     r"\b(?:[srp]k_(?:live|test)_[0-9a-zA-Z]{20,}|whsec_[A-Za-z0-9+/]{24,})"),
    (
        "a model provider's key",
        ("sk-", "gsk_", "xai-", "pplx-", "r8_", "co_", "nvapi-"),
        _START + r"(?:sk-(?:(?:ant|proj|svcacct|admin|or)-[A-Za-z0-9_-]{20,}|[A-Za-z0-9]{20,})|gsk_[A-Za-z0-9]{40,}|"
        r"xai-[A-Za-z0-9]{40,}|pplx-[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}|nvapi-[A-Za-z0-9_-]{40,})",
    ),
    ("a Hugging Face token", ("hf_", "api_org_"), r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    ("an npm token", ("npm_", "_authToken"), r"\bnpm_[A-Za-z0-9]{36}\b|_authToken\s?=\s?[A-Za-z0-9_-]{16,}"),
    ("a PyPI token", ("pypi-",), r"\bpypi-[A-Za-z0-9_-]{50,}"),
    ("a SendGrid key", ("SG.",), _START + r"SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("a Mailgun key", ("key-",), _START + r"key-[0-9a-f]{32}\b"),
    ("a Twilio key", ("SK", "AC"), r"\b(?:SK|AC)[0-9a-f]{32}\b"),
    ("a Telegram bot token", (":AA",), r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
    ("a Discord token", (".",),
     r"\b[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}(?![A-Za-z0-9_-])"),
    ("a DigitalOcean token", ("_v1_",), r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    (
        "a service token",
        ("shp", "sq0", "dapi", "dckr_", "lin_api_", "ntn_", "PMAK-", "NRAK-", "glsa_", "hvs.", "dp.", "sbp_", "atlasv1",
         "ATATT", "figd_", "rnd_", "tskey-"),
        _START + r"(?:shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,}|dapi[a-f0-9]{32}|"
        r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}|lin_api_[A-Za-z0-9]{32,}|ntn_[A-Za-z0-9]{40,}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|"
        r"NRAK-[A-Z0-9]{27}|glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|hvs\.[A-Za-z0-9_-]{24,}|dp\.(?:pt|st|ct|sa)\.[A-Za-z0-9]{40,}|"
        r"sbp_[a-f0-9]{40}|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,}|ATATT3[A-Za-z0-9_=-]{60,}|figd_[A-Za-z0-9_-]{36,}|"
        r"rnd_[A-Za-z0-9]{28,}|tskey-[a-z]{2,10}-[A-Za-z0-9-]{20,})",
    ),
    (
        "an Azure key",
        ("key=", "Q~", "sig="),
        r"(?i:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}|\b[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}|"
        r"[?&]sig=[A-Za-z0-9%+/]{40,}",
    ),
    ("a JSON web token", ("eyJ",), _START + r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}"),
    (
        "a password in a URL",
        ("://",),
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>]{0,64}:(?!(?i:password|pass|pwd|secret|token|x{3,}|\*{3,}|\.{3})@)"
        r"[^\s/@'\"<>{}$]{3,256}@[\w.\[-]",
    ),
    (
        "a bearer token",
        ("authorization", "x-api-key"),
        r"(?i:authorization['\"]?\s{0,4}[:=,]\s{0,4}['\"]?(?:bearer|basic|token)\s{1,4}|x-api-key['\"]?\s{0,4}[:=]\s{0,4}['\"]?)"
        r"(?=[^\s]{0,200}\d)[A-Za-z0-9._~+/=-]{16,}",
    ),
    ("a password on a command line", ("curl", "-p"), r"\bcurl\b[^\n]{0,200}?\s-u\s?['\"]?[\w.@-]{1,64}:[^\s'\"$<{]{4,}|"
     r"\b(?:mysql|mysqldump|sshpass)\b[^\n]{0,80}?\s-p['\"]?(?=[^\s]{0,40}\d)[^\s'\"$<{]{5,}"),
    (
        "an assigned secret",
        ("pass", "secret", "key", "token", "pwd"),
        _NAMES + r"['\"]?\s{0,8}(?::=|:|=>?)\s{0,8}" + _PLACEHOLDER + _QUOTED,
    ),
    (
        "a secret in a settings file",
        ("PASS", "SECRET", "KEY", "TOKEN", "PWD", "Password=", "Pwd="),
        r"(?m:^[ \t]{0,8}(?:export |set |ENV |- )?[A-Z][A-Z0-9_]{0,60}?(?:PASSWORD|PASSWD|PASSPHRASE|_PASS|_PWD|SECRET|"
        r"API_KEY|SECRET_KEY|ACCESS_KEY|_TOKEN)(?:_?\d{1,3})?=['\"]?)(?=[^\s]{0,200}\d)(?=[^\s]{0,200}[A-Za-z])"
        r"[^\s'\"$<{(\[]{8,}|;\s?(?:Password|Pwd)=[^;\s\"'{$<]{4,}",
    ),
    (
        "a password in prose",
        ("pass", "pwd"),
        r"(?i:\b(?:password|passphrase|passcode|passwort|pwd)\b(?: (?:for|to|of|on) [^\n.:=]{1,40}?)?"
        r"(?:\s{0,2}:\s{1,4}| (?:is|was|will be)(?: now)?:? ))[\"'`(]?" + _NO_HASH + _MIXED
        + r"[^\s\"'`()\[\]{}<>$,;=|]{6,64}(?=[\s\"'`,;)]|\.?$|\.\s)",
    ),
)  # fmt: skip
"""(what it is, in words; letters of which one must be there, in any case; pattern)."""

COMPILED = tuple((what, tuple(hint.lower() for hint in hints), re.compile(pattern)) for what, hints, pattern in KINDS)
