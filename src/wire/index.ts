export { canonicalize, CanonicalJsonError } from './canonical-json.ts';
export {
  type Codec,
  type Decoded,
  DEFAULT_CODEC,
  decodeRequest,
  decodeResponse,
  type ReadRequest,
  readRequest,
  withSignedText,
  EnvelopeError,
  VERSIONS,
  withSignature,
} from './codec.ts';
export {
  type AlgorithmName,
  ID_RULE,
  isId,
  NO_REQUEST_ID,
  type RequestMessage,
  type ResponseMessage,
} from './envelope.ts';
export { checkCarried } from './carried.ts';
export { asResult, readResult, resultText } from './result.ts';
export { isObject, type JsonObject, type JsonValue } from './json.ts';
export { parseJson } from './parse-json.ts';
export { generateSecret, weaknessOf } from './secret.ts';
