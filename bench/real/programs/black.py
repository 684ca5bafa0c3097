"""black, its Python version, formats a module: a tokenizer, a parser driven by tables, visitors made of generators."""

from __future__ import annotations

import os
from collections.abc import Callable

PACKAGES = ("black",)
SOURCE = '''
import os, sys
class  Shop( object ):
    """A shop."""
    def __init__( self,name,*items,owner = None,**more ):
        self.name=name; self.items = [ i for i in items if i is not None and i.price>0 ]
        self.owner=owner or {'first':"x",'last':'y', "address": {"street": 'z' , 'number':12}}
    def total(self,tax=0.2 , rounded = True):
        result=sum( item.price*item.count*( 1+tax ) for item in self.items if item.kind in ('box','can',"drum") )
        if rounded and result>100 or not rounded and (result<5 or self.owner is None) and len(self.items) != 3:
            return round(result,2)
        elif result == 0: raise ValueError('nothing here: %s'%self.name)
        else:
            return   result
@decorated(with_arguments = True, and_more=["one","two",  'three'], because="the line has to be long enough to split")
async def main( ):
    async with connect( 'localhost',port = 8080 ) as link, other(1) as o:
        print( f"{link!r:>10}" , end='' , file = sys.stderr )
        value = lambda x,y=2: x**y if x else -y
        return await link.get( value( 1 ) )[ 1 : -1 ]
'''


def setup() -> Callable[[], object]:
    os.environ["BLACK_CACHE_DIR"] = os.devnull + "/none"  # it would write tables there
    import black

    return lambda: black.format_str(SOURCE, mode=black.Mode())
