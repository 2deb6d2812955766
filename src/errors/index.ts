export { CODES, type Code, codeOf, factsOf } from './codes.ts';
export { ClientError, type ClientErrorKind } from './client-error.ts';
export { invalidArgs, issuesOf } from './issues.ts';
export { busy, ProtocolError } from './protocol-error.ts';
export { ToolError } from './tool-error.ts';
export { SetupError } from './setup-error.ts';
export { StoreError } from './store-error.ts';
export { systemCodeOf } from './system-code.ts';
