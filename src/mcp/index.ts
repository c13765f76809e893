export {
  mcpVerifier,
  VerificationUnavailableError,
  type McpAuthInfo,
  type McpCaller,
  type McpVerifier,
  type McpVerifierSettings,
} from "./verifier.js";
