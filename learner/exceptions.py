"""Every error that Redraft raises on purpose, one tree.

    RedraftError
    ├── ConfigError            a setting is unknown, of the wrong type, or out of range
    ├── ConsentError           an act needs a consent that was not given
    ├── PrivacyError           a text or document that must not reach a model or the store
    ├── StoreError             edits.db
    │   ├── StoreLockedError       another process held the write lock for too long
    │   ├── StoreNewerError        written by a newer Redraft; read-only here
    │   ├── StoreCorruptError      SQLite says that the file is damaged
    │   └── ImportFileError        a line of an import file that is no edit
    ├── ModelError             a base model
    │   └── ModelMissingError      nothing is set up yet
    ├── AdapterError           an adapter is damaged, unsafe, or of another base
    ├── HostError              the model host
    │   ├── HostUnavailableError   it cannot be reached or started
    │   ├── HostTimeoutError       it did not answer in time
    │   ├── HostProtocolError      it answered something that is no answer
    │   └── UnknownArmError        it does not have the adapter that was asked for
    ├── PluginError            a plugin breaks its contract
    └── TrainingError          a training cannot start or go on
        └── NothingToLearnError    the store holds no edit that teaches

A message says what was wrong, where, and what to do. The command line prints it without a
traceback and exits with `exit_code`.
"""

from __future__ import annotations


class RedraftError(Exception):
    """Root of the tree; `exit_code` is what the command line exits with."""

    exit_code = 1


class ConfigError(RedraftError):
    """A setting is unknown, of the wrong type, or out of range."""

    exit_code = 2


class ConsentError(RedraftError):
    """An act needs a consent that was not given."""


class PrivacyError(RedraftError):
    """A text or document that must not reach a model or the store."""


class StoreError(RedraftError):
    """`edits.db` cannot do what was asked."""


class StoreLockedError(StoreError):
    """Another process held the write lock for longer than the bounded wait."""


class StoreNewerError(StoreError):
    """The database was written by a newer Redraft; this one may only read it."""


class StoreCorruptError(StoreError):
    """SQLite reports that the file is damaged. It is never recreated silently."""


class ImportFileError(StoreError):
    """A line of an import file is no edit; nothing of the file was imported."""


class ModelError(RedraftError):
    """A base model cannot be prepared, trained or served."""


class ModelMissingError(ModelError):
    """No base model is set up."""


class AdapterError(RedraftError):
    """An adapter is damaged, unsafe, or belongs to another base model."""


class HostError(RedraftError):
    """The model host failed a request."""


class HostUnavailableError(HostError):
    """The model host cannot be reached or started."""


class HostTimeoutError(HostError):
    """The model host did not answer in time."""


class HostProtocolError(HostError):
    """The model host answered something that is no answer."""


class UnknownArmError(HostError):
    """The model host does not have the adapter that was asked for."""


class PluginError(RedraftError):
    """A plugin breaks its contract; the message names it, the member and what was expected."""


class TrainingError(RedraftError):
    """A training cannot start or go on."""


class NothingToLearnError(TrainingError):
    """The store holds no edit that teaches what was asked for."""
