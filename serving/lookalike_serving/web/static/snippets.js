// The search on the screen as a command and as a program.

import { apiKey, address, searchPath, serviceAddress } from "./api.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(retriever, request, upload) {
  const key = apiKey() ? ` \\\n  -H "Authorization: Bearer $LOOKALIKE_API_KEY"` : "";
  const to = quoted(address(searchPath(retriever)));
  const body = quoted(JSON.stringify(request));
  // --form-string, since -F would read a value that begins with @ or < from a file.
  if (upload) return `curl -s ${to}${key} \\\n  -F ${quoted(`image=@"${upload.replace(/["\\]/g, "\\$&")}"`)} \\\n  --form-string request=${body}`;
  return `curl -s ${to}${key} \\\n  -H 'Content-Type: application/json' \\\n  -d ${body}`;
}

export function asPython(retriever, request, upload) {
  const queries = request.queries.map((query) => (upload && query.value === "part:image" ? { ...query, value: upload } : query));
  const options = ["filters", "top_k", "min_score"].filter((name) => request[name] !== undefined);
  return [
    "from lookalike import Lookalike",
    "",
    `client = Lookalike(base_url=${literal(serviceAddress())}${apiKey() ? ', api_key="YOUR_API_KEY"' : ""})`,
    "results = client.retrievers.search(",
    `    retriever_id=${literal(retriever)},`,
    `    queries=${literal(queries, "    ")},`,
    ...options.map((name) => `    ${name}=${literal(request[name], "    ")},`),
    ")",
    "for result in results:",
    '    print(f"{result.score:.3f}  {result.document_id}")',
  ].join("\n");
}

/** JSON data as a Python literal; lists of objects one a line. */
function literal(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) {
    const items = value.map((each) => literal(each, `${indent}    `));
    const long = value.some((each) => each !== null && typeof each === "object");
    return long ? `[\n${items.map((item) => `${indent}    ${item},\n`).join("")}${indent}]` : `[${items.join(", ")}]`;
  }
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${literal(each, indent)}`).join(", ")}}`;
  }
  // A JSON string is a Python string, but for the two line ends that JSON leaves raw.
  return JSON.stringify(value).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}
