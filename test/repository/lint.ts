// Lints a text as if it stood in a file of the repository, with the project's own rules (the type-aware ones need a real file).
import { ESLint } from 'eslint'
import tseslint from 'typescript-eslint'
import { arrowsRule } from './arrows.ts'
import { namesRule } from './names.ts'
import { repository } from './sources.ts'

const eslint = new ESLint({
  cwd: repository,
  overrideConfigFile: true,
  overrideConfig: [
    {
      files: ['**/*.ts'],
      languageOptions: { parser: tseslint.parser },
      plugins: { weft: { rules: { arrows: arrowsRule, names: namesRule } } },
      rules: { 'weft/arrows': 'error', 'weft/names': 'error' },
    },
  ],
})

/** The names of the rules that refuse `text` in `file`, one for each refusal. */
export async function verdicts(file: string, text: string): Promise<string[]> {
  const [result] = await eslint.lintText(text, { filePath: file })
  return (result?.messages ?? []).map(({ ruleId, message }) => ruleId ?? message)
}
