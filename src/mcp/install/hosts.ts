import { join } from 'node:path';

export type Scope = 'user' | 'project';

/** What decides where a configuration lies. */
export interface Place {
  readonly platform: NodeJS.Platform;
  /** Folder of the person. */
  readonly home: string;
  /** Folder of the project. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A program that starts servers of the Model Context Protocol. */
export interface Host {
  readonly label: string;
  /** Member of the configuration that holds the servers by their names. */
  readonly member: 'mcpServers' | 'servers';
  /** Says of each server how it is talked to. */
  readonly typed: boolean;
  /** Its file for each scope that it has. */
  readonly files: Readonly<Partial<Record<Scope, (place: Place) => string>>>;
  /** What makes it read the file again. */
  readonly then: string;
}

/** The one table of hosts, by the names that `waybill install` takes. */
export const HOSTS: Readonly<Record<string, Host>> = {
  'claude-code': {
    label: 'Claude Code',
    member: 'mcpServers',
    typed: true,
    files: {
      user: ({ env, home }) => join(filled(env['CLAUDE_CONFIG_DIR']) ?? home, '.claude.json'),
      project: ({ cwd }) => join(cwd, '.mcp.json'),
    },
    then: 'start a new session',
  },
  'claude-desktop': {
    label: 'Claude Desktop',
    member: 'mcpServers',
    typed: false,
    files: { user: (place) => join(appData(place), 'Claude', 'claude_desktop_config.json') },
    then: 'quit it and start it again',
  },
  cursor: {
    label: 'Cursor',
    member: 'mcpServers',
    typed: false,
    files: {
      user: ({ home }) => join(home, '.cursor', 'mcp.json'),
      project: ({ cwd }) => join(cwd, '.cursor', 'mcp.json'),
    },
    then: 'switch the server on in its settings',
  },
  vscode: {
    label: 'VS Code',
    member: 'servers',
    typed: true,
    files: {
      user: (place) => join(appData(place), 'Code', 'User', 'mcp.json'),
      project: ({ cwd }) => join(cwd, '.vscode', 'mcp.json'),
    },
    then: 'start the server with "MCP: List Servers"',
  },
};

/** Where programs built on Electron keep their settings. */
function appData({ platform, home, env }: Place): string {
  if (platform === 'darwin') return join(home, 'Library', 'Application Support');
  if (platform === 'win32') return filled(env['APPDATA']) ?? join(home, 'AppData', 'Roaming');
  return filled(env['XDG_CONFIG_HOME']) ?? join(home, '.config');
}

function filled(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
