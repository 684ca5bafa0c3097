"""SQLAlchemy's ORM, its Python version, on SQLite in memory: objects with relations are made, queried and changed.

The session is rolled back, so each iteration finds the same tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

PACKAGES = ("sqlalchemy",)
USERS = 6


def make_classes() -> tuple[Any, Any, Any]:
    from sqlalchemy import Column, ForeignKey, Integer, String
    from sqlalchemy.orm import declarative_base, relationship

    base: Any = declarative_base()

    class User(base):  # type: ignore[misc]
        __tablename__ = "users"
        id = Column(Integer, primary_key=True)
        name = Column(String(50))
        orders = relationship("Order", back_populates="user", cascade="all, delete-orphan", order_by="Order.id")

    class Order(base):  # type: ignore[misc]
        __tablename__ = "orders"
        id = Column(Integer, primary_key=True)
        item = Column(String(50))
        price = Column(Integer)
        user_id = Column(ForeignKey("users.id"))
        user = relationship("User", back_populates="orders")

    return base, User, Order


def shop(session: Any, user_class: Any, order_class: Any) -> list[Any]:
    from sqlalchemy import func, select

    users = [user_class(name=f"user {number}") for number in range(USERS)]
    for number, user in enumerate(users):
        user.orders = [order_class(item=f"item {each}", price=each * number) for each in range(4)]
    session.add_all(users)
    session.flush()
    total = func.sum(order_class.price).label("total")
    dear = select(user_class.name, total).join(user_class.orders).group_by(user_class.name).having(total > 5)
    found = list(session.execute(dear.order_by(total.desc())))
    session.expire_all()
    for user in session.scalars(select(user_class).where(user_class.name.like("user %")).order_by(user_class.id)):
        user.orders[0].price += 1
    session.flush()
    session.delete(users[0])
    session.flush()
    return found


def setup() -> Callable[[], object]:
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    base, user_class, order_class = make_classes()
    engine = create_engine("sqlite://")
    base.metadata.create_all(engine)

    def iterate() -> None:
        session = Session(engine)
        shop(session, user_class, order_class)
        session.rollback()
        session.close()

    return iterate
