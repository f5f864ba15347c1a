// The official TypeScript client: prints what it gets, as a line of JSON for each way to connect.
// Arguments: the folder of the npm packages, the address of /mcp, a service's token, and the command
// line of `coursegate mcp`.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [packages, url, token, command, ...args] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${packages}/`));
const load = (/** @type {string} */ name) => import(pathToFileURL(require.resolve(name)).href);
const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const headers = { authorization: `Bearer ${token}` };
for (const [way, transport] of [
  ["http", new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })],
  ["stdio", new StdioClientTransport({ command, args })],
]) {
  const client = new Client({ name: "test", version: "1" });
  await client.connect(transport);
  const chapter = { learner: "x-ts-1", course: "tutorclaw", chapter: 6 };
  const { tools } = await client.listTools();
  const access = await client.callTool({ name: "check_access", arguments: chapter });
  const refused = await client.callTool({ name: "open_chapter", arguments: chapter });
  const text = await client.readResource({ uri: "coursegate://courses/tutorclaw/chapters/1" });
  const prompt = await client.getPrompt({ name: "tutor", arguments: { course: "tutorclaw" } });
  console.log(JSON.stringify({
    way,
    version: client.getNegotiatedProtocolVersion(),
    tools: tools.map((tool) => tool.name).sort(),
    access: access.structuredContent.access,
    sentence: access.content[0].text,
    refused: refused.isError,
    chapter: text.contents[0].text,
    prompt: prompt.messages[0].content.text,
  }));
  await client.close();
}
