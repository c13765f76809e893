export { mcpVerifier, type McpAuthInfo, type McpVerifier, type McpVerifierOptions } from "./verifier.js";
