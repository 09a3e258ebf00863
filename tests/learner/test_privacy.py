"""The privacy gate: what it finds, what it leaves alone, which documents it never reads, and how long it takes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.privacy import excluded, file_path, redacted, secret_in

# put together here, so that no scanner takes this file for a leak
A40 = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7d"
HEX32 = "0123456789abcdef" * 2
BODY = "MIIEpAIBAAKCAQEA7bq9Xy3Zk1Lm5Np7Qr9St1Uv3Wx5Yz7Ab9Cd1Ef3Gh5Ij7Kl"
PEM = f"-----BEGIN {'RSA '}PRIVATE KEY-----\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----"

SECRETS = {
    "pem": PEM,
    "pem, encrypted": f"-----BEGIN ENCRYPTED {'PRIVATE'} KEY-----\nProc-Type: 4,ENCRYPTED\n{BODY}",
    "openssh": f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n{BODY}\n",
    "pgp": f"-----BEGIN PGP {'PRIVATE'} KEY BLOCK-----\n\n{BODY}",
    "pem, cut at the top": f"{BODY}\n-----END {'PRIVATE'} KEY-----",
    "pem, cut at both ends": f"{BODY}\n{BODY}\n{BODY}\n",
    "putty": "PuTTY-User-Key-" + "File-3: ssh-ed25519",
    "age": "AGE-SECRET-" + "KEY-1" + "QQPQ7GZ9X8N2M4" * 4,
    "aws id": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws secret": "aws_secret_access_key = " + A40,
    "github": "ghp_" + A40,
    "github, fine": "github_pat_" + A40 + A40,
    "gitlab": "glpat-" + A40[:20],
    "slack": "xoxb-" + "123456789012-" + A40[:20],
    "slack hook": "https://hooks.slack.com/services/" + "T0000AAAA/B0000BBBB/" + A40[:24],
    "google": "AIza" + A40[:35],
    "google oauth": "ya29." + A40,
    "google client": "GOCSPX-" + A40[:28],
    "stripe": "sk_live_" + A40[:24],
    "openai": "sk-" + "proj-" + A40,
    "openai, old": "sk-" + A40,
    "anthropic": "sk-ant-" + "api03-" + A40,
    "groq": "gsk_" + A40 + "abcdefgh",
    "hugging face": "hf_" + A40[:34],
    "npm": "npm_" + A40[:36],
    "npmrc": "//registry.example.org/:_authToken=" + A40[:36],
    "pypi": "pypi-" + A40 + A40,
    "sendgrid": "SG." + A40[:22] + "." + A40,
    "mailgun": "key-" + HEX32,
    "twilio": "SK" + HEX32,
    "telegram": "123456789:" + "AA" + A40[:33],
    "discord": "M" + A40[:23] + "." + A40[:6] + "." + A40[:38],
    "digitalocean": "dop_v1_" + HEX32 * 2,
    "shopify": "shpat_" + HEX32,
    "databricks": "dapi" + HEX32,
    "docker": "dckr_pat_" + A40[:27],
    "vault": "hvs." + A40,
    "grafana": "glsa_" + A40[:32] + "_" + "0a1b2c3d",
    "azure storage": "DefaultEndpointsProtocol=https;AccountKey=" + A40 + A40 + "==",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + A40,
    "url": "postgres://app:" + "hunter2x@db.example.org/app",
    "url without a user": "redis://:" + "s3cr3t99@localhost:6379/0",
    "bearer": "Authorization: " + "Bearer " + A40,
    "basic": "authorization: basic " + "dXNlcjpwYXNzd29yZDEyMw==",
    "header": "X-Api-Key: " + A40,
    "curl": "curl -s -u admin:" + "Tr0ub4dor https://example.org",
    "mysql": "mysql -u root -p" + "Tr0ub4dor db",
    "json": '{"password": "' + 'correct-horse-9"}',
    "python": "DB_PASSWORD = '" + "Tr0ub4dor&3'",
    "camel": 'clientSecret: "' + 'SuperSecretValue"',
    "go": 'apiKey := "' + A40 + '"',
    "ruby": ":secret_key => '" + A40 + "'",
    "env": "export DATABASE_PASSWORD=" + "hunter2hunter2",
    "env token": "BOT_TOKEN=" + A40,
    "ado": "Server=db;User Id=sa;Password=" + "Hunter2!;",
    "prose": "By the way, the password is " + "Tr0ub4dor&3, do not tell.",
    "prose, of what": "The password for the guest wifi is " + "Sunsh1ne42.",
    "prose, colon": "Login: kim\nPassword: " + "hunter22\n",
}

HARMLESS = {
    "prose": "Reset your password in the settings; the new password is sent to you by mail.",
    "prose about hashing": "The password is sha256-hashed. Its passphrase is base64 encoded, or bcrypt.",
    "rules": "The password is case-sensitive! It was changed. Password: required. A password is 12characters or more.",
    "typed": "def login(user: str, password: str | None = None) -> Token: ...",
    "call": "password = hash_password2(request.form['password'])\napi_key = load_key(1)\nsecret = keys.token_hex(16)",
    "environment": 'api_key = os.environ["API"]\nPASSWORD=$(pass show db1)\nT="${TOKEN1}"\nkey: ${{ secrets.KEY_1 }}',
    "placeholder": 'api_key = "YOUR_API_KEY"\npassword: "changeme"\ntoken = "<your token>"\nsecret="your-secret-here"',
    "names": 'ACCESS_TOKEN = "access_token"\nPASSWORD_FIELD = "password1"\nclient_secret: "client_secret"',
    "label": '"password": "Password:", "secret": "Geheimnis", "pwd": "Das Passwort"',
    "path": 'private_key: "/etc/ssl/private/key1.pem"\napi_key = "https://example.org/keys/1"',
    "url": "http://localhost:8080/@scope/pkg and https://user:${PASSWORD}@example.org, ssh git@github.com:me/repo.git",
    "url placeholder": "postgres://user:password@localhost/db",
    "css": ".sk-fading-circle .sk-child-before-and-after-element { color: #abcdef }",
    "hash": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit": "commit 7407b9c4d2a1e6f80913bb5e0f3c1a9d8e7f6a5b",
    "uuid": "id: 018f3c1e-7b2a-7c3d-9e4f-5a6b7c8d9e0f",
    "image": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAC=",
    "public key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n-----BEGIN PUBLIC KEY-----\nMFk\n-----END PUBLIC KEY-----",
    "shell": "git push -u origin main; curl -s https://example.org -o out.txt; mkdir -p build/2024",
    "markdown": "| Password | Secret |\n|---|---|\n| yes | no |\n\n**Token**: see [the guide](guide.md#token-1).",
    "talk of keys": "Press a key. The primary key of table 2 is `id`; the secret of prose is rewriting it 3 times.",
    "yaml": "secret:\n  secretName: tls-cert-1\n  key: tls.key\npassword:\n  minLength: 12",
    "tests": "assert token.count == 2 and token.kind == 'NAME1'\nmax_tokens=4096, eos_token='<|endoftext|>'",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_and_blacked_out(name: str) -> None:
    text = f"Some words before.\n{SECRETS[name]}\nand some after."
    assert secret_in(text) is not None
    black = redacted(text)
    assert len(black) == len(text)
    assert black.count("*") >= 8
    assert secret_in(black) is None
    assert black.startswith("Some words before.")


@pytest.mark.parametrize("name", HARMLESS)
def test_ordinary_text_is_let_through(name: str) -> None:
    assert secret_in(HARMLESS[name]) is None
    assert redacted(HARMLESS[name]) == HARMLESS[name]


def test_a_whole_key_is_blacked_out_and_what_follows_is_not() -> None:
    black = redacted(f"{PEM}\nGood morning.")
    assert BODY[:20] not in black
    assert black.endswith("\nGood morning.")


def test_our_own_sources_are_ordinary_text() -> None:
    root = Path(__file__).parents[2]
    found = {}
    for path in [*root.glob("learner/**/*.py"), *root.glob("lsp_server/**/*.py"), *root.glob("docs/*.md")]:
        if path.name != "secret_kinds.py":
            what = secret_in(path.read_text(encoding="utf-8"))
            if what:
                found[path.name] = what
    assert found == {}


ADVERSARIAL = [
    "a-", "a_", "eyJ-", "eyJ", "eyJa.eyJ", "sk-", "sk-ant-", "SG.", "-----BEGIN ", "-----BEGIN A A PRIVATE KEY-----",
    "- ", "password ", "password:", "password is ", 'password="', "password='", "secret_key = '", "Password: a1 ",
    "aws secret ", "aws" + " " * 30, "aws_secret=", "ab://x:", "a://", "://:@", "authorization: ", "authorization",
    "curl -u ", "mysql -p", "A_PASSWORD", "AAAAAAAA", "A_", "A=1", "glpat-", "xox", "discord.com/api/webhooks/1/",
    "M.", "Password for ", "0123456789:AA", "\n" + "A" * 64, " \n", "key=", "?sig=", "AccountKey=A", "pwd:\t", ";Pwd=",
    "hooks.slack.com/services/", "\ud800", "İ", "\0",
]  # fmt: skip


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_no_text_makes_the_gate_slow(unit: str) -> None:
    """200,000 characters: a quadratic pattern would take minutes; linear ones take tens of milliseconds."""
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    secret_in(text)
    redacted(text + "!")
    assert time.process_time() - started < 10


@given(st.text(max_size=300))
def test_any_text_is_answered(text: str) -> None:
    assert len(redacted(text)) == len(text)


# --- documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".env", ".env.local", "prod.env", "server.PEM", "id_rsa", "id_ed25519.pub", ".netrc", ".npmrc", ".ssh/config",
        ".aws/credentials", "a/.kube/config", "terraform.tfstate", "secrets.yaml", ".ENV", ".gnupg/x/y",
    ],
)  # fmt: skip
def test_files_that_hold_secrets_are_always_excluded(tmp_path: Path, name: str) -> None:
    (tmp_path / ".redraftignore").write_text(f"!{name}\n")  # nobody can include them
    assert "holds secrets" in str(excluded((tmp_path / name).as_uri()))


def test_other_surfaces_of_an_excluded_file_are_excluded() -> None:
    assert excluded("untitled:/home/kim/.env")
    assert excluded("git:/home/kim/app/.env?%7B%22ref%22%3A%22HEAD%22%7D")
    assert excluded("vscode-notebook-cell:/home/kim/.ssh/notes.ipynb#cell1")
    assert excluded("file:///home/kim/.env#fragment")
    assert excluded("file:///home/kim/%2Eenv")


def test_ordinary_documents_are_not(tmp_path: Path) -> None:
    for uri in ("untitled:Untitled-1", "inmemory://model/1", (tmp_path / "environment.md").as_uri(),
                (tmp_path / "keys.md").as_uri(), (tmp_path / "ü b.txt").as_uri()):  # fmt: skip
        assert excluded(uri) is None


def test_redraftignore_counts_at_every_level(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".redraftignore").write_text("*.diary\nprivate/\n/a/top.md\n# a comment\n\n")
    (deep / ".redraftignore").write_text("notes*.md\n!x.diary\n")
    why = {
        name: excluded((deep / name).as_uri())
        for name in ("x.diary", "notes1.md", "private/n.md", "fine.md", "../top.md")
    }
    assert why["fine.md"] is None
    assert str(tmp_path / ".redraftignore") in str(why["x.diary"])  # a deeper file takes nothing back
    assert str(deep / ".redraftignore") in str(why["notes1.md"])
    assert why["private/n.md"] is not None
    assert excluded((tmp_path / "a" / "top.md").as_uri()) is not None
    assert excluded((deep / "top.md").as_uri()) is None


def test_a_changed_redraftignore_counts_at_once(tmp_path: Path) -> None:
    ignore, uri = tmp_path / ".redraftignore", (tmp_path / "n.md").as_uri()
    ignore.write_text("other\n")
    assert excluded(uri) is None
    ignore.write_text("n.md\n\n")
    assert excluded(uri) is not None


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    target = tmp_path / "id_rsa"
    target.write_text("x")
    link = tmp_path / "notes.txt"
    link.symlink_to(target)
    assert excluded(link.as_uri()) is not None


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"!\n[\n\\\n///\n", b"\n" * 1000])
def test_an_odd_redraftignore_excludes_nothing_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".redraftignore").write_bytes(content + b"\nleft.md\n")
    assert excluded((tmp_path / "left.md").as_uri()) is not None
    assert excluded((tmp_path / "right.txt").as_uri()) is None


def test_a_redraftignore_that_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".redraftignore")  # reading it would wait for ever
    assert excluded((tmp_path / "n.md").as_uri()) is None


def test_a_huge_redraftignore_excludes_its_folder(tmp_path: Path) -> None:
    (tmp_path / ".redraftignore").write_text("x" * 1_000_001)
    assert "cannot be read" in str(excluded((tmp_path / "n.md").as_uri()))


@pytest.mark.parametrize("uri", ["file://[", "file:///a%00b", "//[::1", ""])
def test_no_uri_breaks_the_gate(uri: str) -> None:
    assert file_path(uri) is None
    assert (excluded(uri) is None) == (uri == "")
