export {
  mcpVerifier,
  VerificationUnavailableError,
  type McpAuthInfo,
  type McpVerifier,
  type McpVerifierSettings,
} from "./verifier.js";
