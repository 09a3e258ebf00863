"""Plugins that come with Redraft; each imports only `learner`."""
