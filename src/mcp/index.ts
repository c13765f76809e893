export { mcpVerifier, type McpAuthInfo, type McpVerifier, type McpVerifierSettings } from "./verifier.js";
