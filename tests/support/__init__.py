"""What tests of several packages share: configs, servers, pictures and ports."""
