#!/usr/bin/env python3
"""Keeps a sealed maintenance schedule of the real Kopia, its key, and what Kopia says is in it.

    KOPIA=/path/to/kopia python3 make.py        (needs the Python package `cryptography`)
"""

import base64, hashlib, json, os, subprocess, tempfile
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HERE = os.path.dirname(os.path.abspath(__file__))

with tempfile.TemporaryDirectory() as folder:
    env = dict(os.environ, KOPIA_CHECK_FOR_UPDATES="false", KOPIA_PASSWORD="golden", KOPIA_USE_KEYRING="false", TZ="UTC",
               KOPIA_CONFIG_PATH=f"{folder}/config", KOPIA_LOG_DIR=f"{folder}/logs")
    os.mkdir(f"{folder}/repository")
    kopia = lambda *args: subprocess.run([os.environ["KOPIA"], "--no-progress", *args], env=env, check=True, capture_output=True).stdout
    kopia("repository", "create", "filesystem", f"--path={folder}/repository", f"--cache-directory={folder}/cache",
          "--override-hostname=h", "--override-username=u")
    kopia("maintenance", "run", "--full")
    kopia("maintenance", "run")
    info = json.loads(kopia("maintenance", "info", "--json"))
    schedule = info.pop("schedule")
    with open(f"{folder}/repository/kopia.maintenance.f", "rb") as file:
        sealed = file.read()
    with open(f"{folder}/repository/kopia.repository.f", "rb") as file:
        outer = json.load(file)
    salt, block = base64.b64decode(outer["uniqueID"]), base64.b64decode(outer["encryptedBlockFormat"])
    derive = lambda key, info: HKDF(SHA256(), 32, salt, info).derive(key)
    format_key = hashlib.scrypt(b"golden", salt=salt, n=65536, r=8, p=1, maxmem=1 << 28, dklen=32)
    inner = json.loads(AESGCM(derive(format_key, b"AES")).decrypt(block[:12], block[12:], derive(format_key, b"CHECKSUM")))
    key = derive(base64.b64decode(inner["format"]["masterKey"]), b"maintenance schedule")
    assert json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], b"maintenance")) == schedule
    params = [line for line in kopia("manifest", "list").decode().splitlines() if "type:maintenance" in line][0].split()[0]
    shown = kopia("manifest", "show", params).decode()
    params = json.loads("\n".join(line for line in shown.splitlines() if not line.startswith("//")))
    assert params == info
    with open(f"{HERE}/kopia.maintenance", "wb") as file:
        file.write(sealed)
    with open(f"{HERE}/case.json", "w") as file:
        json.dump({"key": key.hex(), "schedule": schedule, "params": params}, file)
