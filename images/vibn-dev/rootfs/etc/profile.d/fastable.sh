# Toolchains that `mise` installs on first use live in /cache, so that they outlast a replaced container.
export MISE_DATA_DIR=/cache/mise PIP_CACHE_DIR=/cache/pip npm_config_cache=/cache/npm
[ -x /usr/local/bin/mise ] && eval "$(/usr/local/bin/mise activate bash)"
