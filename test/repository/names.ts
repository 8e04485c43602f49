// One word a thing: the lint rule that keeps words without a meaning out of file and type names (ARCHITECTURE.md, words).
import { basename, relative } from 'node:path'
import type { Rule } from 'eslint'

const banned = new Set('manager handler helper helpers util utils common misc info context'.split(' '))

/** The banned word inside a name (camelCase, kebab-case, snake_case, dots), or undefined. */
export function bannedWord(name: string): string | undefined {
  const words = name.split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+/)
  return words.map((word) => word.toLowerCase()).find((word) => banned.has(word))
}

/** ESLint rule `weft/names`. */
export const namesRule: Rule.RuleModule = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { banned: "'{{name}}' says nothing with '{{word}}': name what it is" },
  },
  create(lint) {
    const check = (node: Rule.Node, name: string): void => {
      const word = bannedWord(name)
      if (word !== undefined) lint.report({ node, messageId: 'banned', data: { name, word } })
    }
    const declared = (node: Rule.Node): void => {
      const id = (node as { id?: { name?: string } | null }).id
      if (id?.name !== undefined) check(node, id.name)
    }
    return {
      Program: (node) => {
        const folders = relative(lint.cwd, lint.filename).split('/').slice(0, -1)
        for (const part of [...folders, basename(lint.filename)]) check(node as Rule.Node, part)
      },
      ClassDeclaration: declared,
      TSInterfaceDeclaration: declared,
      TSTypeAliasDeclaration: declared,
    }
  },
}
