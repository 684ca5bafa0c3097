"""Take orders in as JSON, check them, add prices, sum up per customer, and give JSON out.

    python json_pipeline.py              print a summary and a checksum of the result
    python json_pipeline.py 100000       with so many orders (default 60,000)
    tachyscope run json_pipeline.py      see where the time goes

What a profile of it shows: a pipeline of generators (each stage pulls from the one before it), with the time
spread over parsing, checking, pricing and writing. The C code inside `json` has no Python frame, so its time appears
at the Python function that called it: `raw_decode` and `iterencode`.
"""

import json
import random
import sys
import zlib
from decimal import ROUND_HALF_UP, Decimal

PRODUCTS = {
    "apple": Decimal("0.35"),
    "bread": Decimal("2.20"),
    "cheese": Decimal("7.80"),
    "honey": Decimal("5.40"),
    "olives": Decimal("3.15"),
}
TAX = {"north": Decimal("0.07"), "south": Decimal("0.19"), "west": Decimal("0.10")}
CENT = Decimal("0.01")


def make_order(generator, number):
    """One made-up order; every fiftieth is broken, as in real life."""
    lines = []
    for _ in range(generator.randint(1, 4)):
        lines.append({"product": generator.choice(list(PRODUCTS)), "quantity": generator.randint(1, 9)})
    order = {
        "number": number,
        "customer": {"id": generator.randint(1, 500), "region": generator.choice(list(TAX))},
        "lines": lines,
    }
    if number % 50 == 0:
        order["lines"][0]["quantity"] = -1
    return order


def make_input(count):
    """What would come from a file or a network: one JSON document per line."""
    generator = random.Random(7)  # a fixed seed: the same orders every time
    return [json.dumps(make_order(generator, number)) for number in range(count)]


def parse(texts):
    for text in texts:
        yield json.loads(text)


def problems(order):
    """What is wrong with an order; an empty list if nothing is."""
    found = []
    if order["customer"]["region"] not in TAX:
        found.append("unknown region")
    for line in order["lines"]:
        if line["product"] not in PRODUCTS:
            found.append("unknown product")
        if line["quantity"] <= 0:
            found.append("impossible quantity")
    return found


def check(orders, rejected):
    """Pass the good orders on; put the numbers of the others into `rejected`."""
    for order in orders:
        if problems(order):
            rejected.append(order["number"])
        else:
            yield order


def net_price(line):
    return PRODUCTS[line["product"]] * line["quantity"]


def with_tax(amount, region):
    return (amount * (1 + TAX[region])).quantize(CENT, ROUND_HALF_UP)


def price(orders):
    """Add what each order costs."""
    for order in orders:
        net = sum((net_price(line) for line in order["lines"]), Decimal(0))
        order["total"] = with_tax(net, order["customer"]["region"])
        yield order


def sum_up(orders):
    """Per customer: how many orders, how much money, how much of each product."""
    customers = {}
    for order in orders:
        customer = customers.setdefault(order["customer"]["id"], {"orders": 0, "total": Decimal(0), "products": {}})
        customer["orders"] += 1
        customer["total"] += order["total"]
        for line in order["lines"]:
            products = customer["products"]
            products[line["product"]] = products.get(line["product"], 0) + line["quantity"]
    return customers


def encode_decimal(value):
    """What `json` asks for values that it does not know."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


def write(customers):
    """The result as text, the same on every run."""
    return json.dumps(customers, indent=1, sort_keys=True, default=encode_decimal)


def main(arguments):
    count = int(arguments[0]) if arguments else 60_000
    rejected = []
    # Nothing happens on this line yet: each generator waits until the next one asks it for an order.
    orders = price(check(parse(make_input(count)), rejected))
    text = write(sum_up(orders))
    print(f"{count} orders, {len(rejected)} rejected")
    print(f"{len(text)} characters, checksum {zlib.crc32(text.encode()):08x}")


if __name__ == "__main__":
    main(sys.argv[1:])
