// Medians, percentiles and a table on the terminal: all that the benchmarks say is said through these.

export const median = (values: readonly number[]): number => percentile(values, 0.5)

/** The smallest value that at least this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))] ?? Number.NaN
}

/** Three significant digits, which is more than a shared machine is good for. */
export const figure = (value: number): string =>
  Number.isFinite(value) ? (value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)))) : '-'

/** A Markdown table: the first row is the head. */
export function renderTable(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)].join('\n')
}
