#!/usr/bin/env python3
"""Opens pipelines in the YAML language server that editors use, and checks what it says of them and completes by the schema.

usage: editor.py

Started by `just integration-editor`. The server is npm's `yaml-language-server`, installed in the cache folder; it is spoken to over standard input and output, as editors do.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = ROOT / "schema/pipeline.json"
VERSION = "2.0.0"
SETTINGS = {
    "yaml": {
        "schemas": {SCHEMA.as_uri(): ["*.yaml"]},
        "schemaStore": {"enable": False},
        "validate": True, "completion": True, "hover": True,
    }
}

HEAD = """version: 1
name: wine
data: { path: data/wine.csv, target: cultivar }
stages:
"""


def main():
    sys.path.insert(0, str(ROOT / "scripts"))
    from environments import CACHE

    editor = Editor(server(CACHE / "integration-editor"))
    for pipeline in sorted((ROOT / "pipelines").glob("*.yaml")):
        said = editor.open(pipeline.read_text())
        assert not said, f"{pipeline.name}: {said}"
        print(f"{pipeline.name}: nothing to say")
    sound(editor)
    mistakes(editor)
    completions(editor)
    hover(editor)
    editor.close()
    print("editor: all checks passed")


def server(folder):
    """The server's program; installed once."""
    program = folder / "node_modules/yaml-language-server/bin/yaml-language-server"
    package = folder / "node_modules/yaml-language-server/package.json"
    if not package.exists() or json.loads(package.read_text())["version"] != VERSION:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"installing yaml-language-server {VERSION} into {folder}", flush=True)
        npm = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", f"yaml-language-server@{VERSION}"]
        if subprocess.run(npm, check=False).returncode != 0:
            sys.exit("error: yaml-language-server could not be installed (npm's message is above)")
    return program


class Editor:
    """The client's side of the Language Server Protocol, as far as is needed here."""

    def __init__(self, program):
        self.process = subprocess.Popen(["node", str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.messages, self.next_id, self.documents = queue.Queue(), 0, 0
        threading.Thread(target=self.listen, daemon=True).start()
        capabilities = {
            "workspace": {"configuration": True, "didChangeConfiguration": {"dynamicRegistration": True}},
            "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}, "publishDiagnostics": {}},
        }
        root = ROOT.as_uri()
        self.request("initialize", {"processId": os.getpid(), "rootUri": root, "capabilities": capabilities, "workspaceFolders": [{"uri": root, "name": "retune"}]})
        self.send({"method": "initialized", "params": {}})
        self.send({"method": "workspace/didChangeConfiguration", "params": {"settings": SETTINGS}})

    def listen(self):
        while header := self.process.stdout.readline():
            length = 0
            while header.strip():
                name, value = header.decode().split(":", 1)
                length = int(value) if name.lower() == "content-length" else length
                header = self.process.stdout.readline()
            self.messages.put(json.loads(self.process.stdout.read(length)))
        self.messages.put(None)

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def wait(self, wanted):
        """The first message that is wanted; the server's questions on the way are answered."""
        while True:
            try:
                message = self.messages.get(timeout=60)
            except queue.Empty:
                sys.exit("error: the language server does not answer")
            if message is None:
                sys.exit("error: the language server ended")
            if "method" in message and "id" in message:
                asked = message.get("params", {}).get("items", [])
                result = [SETTINGS.get(item.get("section")) for item in asked] if message["method"] == "workspace/configuration" else None
                self.send({"id": message["id"], "result": result})
            elif wanted(message):
                return message

    def request(self, method, params):
        self.next_id += 1
        number = self.next_id
        self.send({"id": number, "method": method, "params": params})
        answer = self.wait(lambda message: message.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, text):
        """Opens a new document; returns what is said of it: the line, counted from 1, and the text."""
        self.documents += 1
        self.uri = (ROOT / f"pipelines/test{self.documents}.yaml").as_uri()
        document = {"uri": self.uri, "languageId": "yaml", "version": 1, "text": text}
        self.send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        published = self.wait(lambda message: message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == self.uri)
        return [(said["range"]["start"]["line"] + 1, said["message"]) for said in published["params"]["diagnostics"]]

    def complete(self, text):
        """What is offered at `|`."""
        position = self.place(text)
        answer = self.request("textDocument/completion", {"textDocument": {"uri": self.uri}, "position": position})
        items = answer["items"] if isinstance(answer, dict) else answer or []
        return [item["label"] for item in items]

    def hover(self, text):
        position = self.place(text)
        answer = self.request("textDocument/hover", {"textDocument": {"uri": self.uri}, "position": position})
        contents = (answer or {}).get("contents", "")
        return contents["value"] if isinstance(contents, dict) else str(contents)

    def place(self, text):
        before, after = text.split("|")
        self.open(before + after)
        return {"line": before.count("\n"), "character": len(before.rsplit("\n", 1)[-1])}

    def close(self):
        self.request("shutdown", None)
        self.send({"method": "exit"})
        self.process.wait(timeout=10)


def sound(editor):
    """What `retune validate` accepts."""
    for what, stage in [
        ("an expression in place of a number", "  - { id: p, uses: preprocessing, with: { steps: [ pca: { components: \"${{ params.n }}\" } ] } }\n"),
        ("a step without settings", "  - id: p\n    uses: preprocessing\n    with:\n      steps:\n        - impute:\n        - standard_scale: {}\n"),
        ("the word null without quotes", "  - { id: p, uses: preprocessing, with: { steps: [ outliers: { action: null } ] } }\n"),
        ("the word null with quotes", "  - { id: p, uses: preprocessing, with: { steps: [ outliers: { action: \"null\" } ] } }\n"),
        ("a space", "  - { id: m, uses: model-selection, with: { candidates: [ ridge: { l2: { log_uniform: [1e-3, 10] } } ] } }\n"),
    ]:
        said = editor.open(HEAD + stage)
        assert not said, f"{what}: {said}"
        print(f"{what}: nothing to say")


def mistakes(editor):
    for what, text, line, word in [
        ("a wrong key of the file", HEAD.replace("name:", "nam:") + "  - { id: m, uses: model-selection, with: { candidates: [ ridge: {} ] } }\n", 2, "nam"),
        ("a wrong key of a stage", HEAD + "  - id: p\n    uses: preprocessing\n    wiht: { steps: [ impute: {} ] }\n", 7, "wiht"),
        ("a wrong key of a step", HEAD + "  - id: p\n    uses: preprocessing\n    with:\n      steps:\n        - impute: { stratgy: mean }\n", 9, "stratgy"),
        ("a number out of its range", HEAD + "  - id: m\n    uses: model-selection\n    with:\n      folds: 1\n      candidates: [ ridge: {} ]\n", 8, ""),
        ("a server that is none", HEAD.replace("stages:", "tracking: { mlflow: localhost }\nstages:") + "  - { id: m, uses: model-selection, with: { candidates: [ ridge: {} ] } }\n", 4, ""),
    ]:
        said = editor.open(text)
        assert any(at == line and word in message for at, message in said), f"{what}: {said}"
        print(f"{what}: line {line}, {next(message for at, message in said if at == line)}")


def completions(editor):
    for what, text, wanted in [
        ("the file", "version: 1\n|", ["name", "data", "stages", "params", "seed", "threads", "tracking"]),
        ("data", "version: 1\nname: a\ndata:\n  |\n", ["path", "target", "split", "columns", "ignore"]),
        ("a stage", HEAD + "  - id: prepare\n    |\n", ["uses", "with", "inputs", "timeout"]),
        ("the word after uses", HEAD + "  - id: prepare\n    uses: |\n", ["preprocessing", "feature-selection", "model-selection", "fine-tuning"]),
        ("with of a model selection", HEAD + "  - id: model\n    uses: model-selection\n    with:\n      |\n", ["metric", "folds", "search", "candidates", "ensemble"]),
        ("with of a fine-tuning", HEAD + "  - id: tuned\n    uses: fine-tuning\n    with:\n      |\n", ["base", "network", "guard", "goal"]),
        ("the steps", HEAD + "  - id: prepare\n    uses: preprocessing\n    with:\n      steps:\n        - |\n", ["impute", "one_hot", "tf_idf", "standard_scale"]),
        ("a step's settings", HEAD + "  - id: prepare\n    uses: preprocessing\n    with:\n      steps:\n        - impute:\n            |\n", ["columns", "strategy", "indicator"]),
        ("a setting's words", HEAD + "  - id: prepare\n    uses: preprocessing\n    with:\n      steps:\n        - impute:\n            strategy: |\n", ["median", "mean"]),
    ]:
        offered = editor.complete(text)
        missing = [word for word in wanted if word not in offered]
        assert not missing, f"{what}: {missing} are not offered, but {offered}"
        print(f"{what}: {len(offered)} offered, {', '.join(wanted)} among them")


def hover(editor):
    text = editor.hover(HEAD + "  - id: p\n    uses: preprocessing\n    with:\n      steps:\n        - imp|ute: { strategy: mean }\n")
    assert "Fills missing values" in text, text
    print(f"hover: {text.splitlines()[2]}")


if __name__ == "__main__":
    main()
