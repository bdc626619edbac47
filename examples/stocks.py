"""Thirty years of monthly share prices: a table, and a picture of it.

Reads Stocks.csv from the working directory and leaves stocks.png there. It is
an ordinary script: outside of a cell it does the same.
"""

import pandas as pd
import matplotlib.pyplot as plt

prices = pd.read_csv('Stocks.csv', comment='#', index_col='Date', parse_dates=True)
prices = prices.rename(columns={'^GSPC': 'S&P 500', '^IXIC': 'NASDAQ'}).dropna(how='all')

rows = []
for name, series in prices.items():
    series = series.dropna()
    years = (series.index[-1] - series.index[0]).days / 365.25
    rows.append({
        'name': name,
        'since': series.index[0].strftime('%Y-%m'),
        'first': series.iloc[0],
        'last': series.iloc[-1],
        'growth %/year': 100 * ((series.iloc[-1] / series.iloc[0]) ** (1 / years) - 1),
        'deepest fall %': 100 * (series / series.cummax() - 1).min(),
    })
table = pd.DataFrame(rows).set_index('name').sort_values('growth %/year', ascending=False)

print(f'{len(prices)} rows from {prices.index[0]:%Y-%m} to {prices.index[-1]:%Y-%m}')
print(table.to_string(float_format='{:,.2f}'.format))

figure, axes = plt.subplots(figsize=(9, 5))
for name in table.index:
    series = prices[name].dropna()
    axes.plot(series.index, series / series.iloc[0], label=name, linewidth=1.3)
axes.set_yscale('log')
axes.set_ylabel('times the first price (logarithmic)')
axes.set_title('Monthly prices since 1990')
axes.grid(True, which='major', alpha=0.3)
axes.legend(ncol=2, fontsize='small', loc='upper left')
figure.savefig('stocks.png', dpi=120, bbox_inches='tight')
print('wrote stocks.png')
