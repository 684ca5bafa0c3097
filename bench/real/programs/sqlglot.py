"""sqlglot translates a query between dialects: a tokenizer, a recursive parser and a generator of text, deep stacks."""

from __future__ import annotations

from collections.abc import Callable

PACKAGES = ("sqlglot",)
QUERY = """
select l_orderkey, sum(l_extendedprice * (1 - l_discount)) as revenue, o_orderdate, o_shippriority
from customer as c, orders as o, lineitem as l
where c_mktsegment = 'BUILDING' and c_custkey = o_custkey and l_orderkey = o_orderkey
    and o_orderdate < cast('1995-03-15' as date) and l_shipdate > cast('1995-03-15' as date)
    and exists (select * from returned as r where r.orderkey in (1, 2, 3) and r.quantity between 1 and 2)
group by l_orderkey, o_orderdate, o_shippriority
having count(*) > 3 or case when min(o_shippriority) = 0 then true else false end
order by revenue desc, o_orderdate
"""


def setup() -> Callable[[], object]:
    import sqlglot

    def iterate() -> None:
        for target in ("bigquery", "postgres", "duckdb"):
            sqlglot.transpile(QUERY, read="snowflake", write=target)

    return iterate
